"""Moving the schema up and down: operations, locks, the window, plans."""

from service.db.migrations.running import downgrade, upgrade

__all__ = ["downgrade", "upgrade"]
