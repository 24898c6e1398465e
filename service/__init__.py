"""Rollcall: the accounts microservice."""

__version__ = "0.1.0"
