"""Maloca's own wire format: `/api/llm/…`, and the events that engine, server and page share."""
