"""How the strategies draw: one function for each kind of layer, given the shape it is to fit."""
