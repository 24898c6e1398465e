"""Password hashing: limiter, threads, argon2id scheme, imported formats."""
