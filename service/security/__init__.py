"""Hashing, tokens, ids, encryption, signatures, second factors, and the blocklist of passwords."""
