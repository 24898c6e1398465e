"""The chaos test: random faults under load, and the check that nothing acknowledged is lost."""
