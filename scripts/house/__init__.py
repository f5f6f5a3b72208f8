"""How the repository sets itself up, builds, checks and tests itself."""
