"""Password hashing, tokens, ids and the blocklist of common passwords."""
