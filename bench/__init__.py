"""Measures Rollcall against its limits and its peers; see README.md beside this file."""
