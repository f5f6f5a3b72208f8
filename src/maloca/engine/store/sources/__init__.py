"""Where models come from: packages of the Python indexes, and files that the operator has."""
