"""`python -m rfgraph`."""

from rfgraph.cli import main

main()
