"""Checks of this repository that no linter has: `make check` runs them."""
