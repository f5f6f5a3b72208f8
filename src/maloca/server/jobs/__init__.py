"""Long work outside the web process, one subprocess per job."""
