"""Answers that would be the same again: kept once, computed once."""
