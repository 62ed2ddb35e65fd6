"""A hostile generator: calls of every operator in every spelling, and random programs of them.

It shares nothing with `rfgraph.testing` nor with the rules: of rfgraph it knows the names of the operators and the
public report. What a program reads is found by redrawing rows of its input and running it again.
"""
