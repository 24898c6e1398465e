"""Rollcall, the accounts service, as pytest fixtures for applications that use it; see `plugin`."""
