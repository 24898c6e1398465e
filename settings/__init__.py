"""Settings, read from the environment, `.env` and a secrets directory, and checked."""

from settings.errors import SettingsError
from settings.loading import get_settings, masked
from settings.root import Settings

__all__ = ["Settings", "SettingsError", "get_settings", "masked"]
