"""All SQL and all locks, one file per aggregate."""
