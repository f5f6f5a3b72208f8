"""How much each caller may ask for."""
