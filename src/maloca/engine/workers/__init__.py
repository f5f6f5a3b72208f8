"""One process per loaded model, reached over an inherited pipe."""
