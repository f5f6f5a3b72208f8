"""OpenAI's wire format: `/v1/…`, as its API reference documents it."""
