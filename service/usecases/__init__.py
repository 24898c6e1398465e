"""Policy: what may happen and in which order. No HTTP, no SQL, no framework."""
