"""Answers for people and programs: `/predict`, its socket, and what surrounds every dialect."""
