"""Rollcall, the accounts service, for the tests of those who use it. The fixtures are in `plugin`."""
