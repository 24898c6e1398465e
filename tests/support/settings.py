"""Settings for tests."""

from base64 import b64encode
from datetime import timedelta
from typing import Any, Final

from pydantic import SecretStr

from settings import Settings
from settings.factors import FactorSettings
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
