"""Settings for tests."""

from base64 import b64encode
from datetime import timedelta
from typing import Any, Final

from pydantic import SecretStr

from settings import Settings
from settings.database import DatabaseSettings
from settings.factors import FactorSettings
from settings.http import HttpSettings
from settings.login import LoginSettings
from settings.mail import MailSettings
from settings.passwords import PasswordSettings
from settings.secrets import SecretsSettings

RP_ID: Final = "example.org"
ORIGIN: Final = "https://login.example.org"


def settings_for_tests(**sections: Any) -> Settings:
    """Return settings with a cheap hash, in the profile that permits it, and with every second factor."""
    cheap = PasswordSettings(memory_kib=8, iterations=1, workers=2, queue_timeout=timedelta(seconds=30))
    mail = MailSettings(interval=timedelta(hours=1))  # tests send mails themselves
    given: dict[str, Any] = {
        "profile": "test",
        "passwords": cheap,
        "mail": mail,
        "login": LoginSettings(by_code=True),
        "secrets": SecretsSettings(key=SecretStr(b64encode(bytes(range(32))).decode())),
        "factors": FactorSettings(rp_id=RP_ID, origins=(ORIGIN,)),
    }
    return Settings(**given | sections)


def patient_settings() -> Settings:
    """Return settings for tests that inject no fault: no time limit ends a request on a slow machine."""
    minute = timedelta(minutes=1)
    database = DatabaseSettings(
        pool_timeout=minute,
        connect_timeout=minute,
        lock_timeout=minute,
        statement_timeout=minute,
        command_timeout=2 * minute,
    )
    return settings_for_tests(database=database, http=HttpSettings(request_timeout=3 * minute))
