"""Maloca: a house for your own language models."""

__version__ = "0.1.0"
