"""Settings for tests."""

from datetime import timedelta
from typing import Any

from settings import Settings
from settings.login import LoginSettings
from settings.mail import MailSettings
from settings.passwords import PasswordSettings


def settings_for_tests(**sections: Any) -> Settings:
    """Return settings with a cheap hash, in the profile that permits it."""
    cheap = PasswordSettings(memory_kib=8, iterations=1, workers=2, queue_timeout=timedelta(seconds=30))
    mail = MailSettings(interval=timedelta(hours=1))  # tests send mails themselves
    given: dict[str, Any] = {
        "profile": "test",
        "passwords": cheap,
        "mail": mail,
        "login": LoginSettings(by_code=True),
    }
    return Settings(**given | sections)
