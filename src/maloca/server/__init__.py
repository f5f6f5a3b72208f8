"""The application: what people and their programs talk to."""
