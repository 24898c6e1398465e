"""HTTP: what stands in api.md, and nothing of policy or SQL."""
