"""Rules without I/O: entities, errors, normal forms, policies. Standard library only."""
