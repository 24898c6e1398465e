"""The embedded PostgreSQL server, from a wheel."""
