"""Abstract domains: what is known of a tensor's dependence on an axis of the input, and how reads compose it.

In: reads. Out: abstract values.
"""
