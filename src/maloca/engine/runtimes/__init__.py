"""Ways to run a model. Only a model worker imports what is in here."""
