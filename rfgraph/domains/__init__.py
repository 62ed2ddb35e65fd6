"""Abstract domains: what is known of a tensor's dependence on one axis of the input, and how reads
compose it. In: reads. Out: abstract values. Callers: propagation; the report reads the values."""
