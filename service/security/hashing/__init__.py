"""Password hashing: concurrency limit, thread pool, hash formats."""
