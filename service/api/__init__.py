"""The HTTP API of docs/api.md: no policy, no SQL."""
