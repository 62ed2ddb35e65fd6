"""The algebra: finite sets of positions, relations between them, digits of positions. It knows no tensors."""
