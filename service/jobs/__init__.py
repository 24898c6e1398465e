"""Periodic background tasks, and the dispatcher of the outbox."""
