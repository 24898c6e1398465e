"""Settings of the keys that the database never has."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from settings.section import Section
from settings.values import Constraint, parse_keys


def _check_keys(keys: SecretStr) -> SecretStr:
    parse_keys(keys.get_secret_value())
    return keys


SecretKeys = Annotated[
    SecretStr,
    AfterValidator(_check_keys),
    Constraint(
        "32 random bytes in base64, as `openssl rand -base64 32` prints them; several comma-separated, "
        "newest first, each once"
    ),
]


class SecretsSettings(Section):
    """Keys that encrypt what the database must not show. Source: OWASP ASVS 5.0 11.3.2, 13.3.1."""

    key: SecretKeys | None = Field(
        default=None,
        description="Encrypts private keys and the secrets of second factors; the one-time tokens in mails "
        "are derived from it, and failed logins are counted under digests with the newest one. To rotate, "
        "put a new key in front, restart every process, run `secrets rotate`, then remove the old one. "
        "Without its key, what is encrypted is lost, and mails that wait are not sent.",
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys, newest first; none if unset."""
        return parse_keys(self.key.get_secret_value()) if self.key is not None else ()
