"""The engine, spoken to over HTTP."""
