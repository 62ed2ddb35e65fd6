"""`python -m rfgraph`."""

from rfgraph.cli.app import main

main()
