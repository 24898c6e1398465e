"""Secrets: hashing with admission control, foreign hashes, tokens, the blocklist of common passwords."""
