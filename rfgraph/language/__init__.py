"""What rules say: reads, the vocabulary they are found by, and the readings of a graph."""
