"""Entities, errors, canonical forms and policies, without I/O, clock, randomness or HTTP."""
