"""Weights and masks that the model fixes to 0: what is not read because of them."""
