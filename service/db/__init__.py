"""All SQL, all locks, and the schema."""
