"""Periodic background tasks."""
