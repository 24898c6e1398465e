"""Rules without I/O: entities, errors, normal forms, policies. No library but Unicode tables."""
