"""Settings of the keys that never reach the database."""

import base64
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from settings.section import Section
from settings.values import Constraint, split_list

KEY_BYTES = 32


def _require_key(key: SecretStr) -> SecretStr:
    try:
        size = len(base64.b64decode(key.get_secret_value(), validate=True))
    except ValueError:
        raise ValueError from None
    if size != KEY_BYTES:
        raise ValueError
    return key


class SecretSettings(Section):
    """Keys for what the database must not be able to read alone."""

    key: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_require_key)], ...],
        BeforeValidator(split_list),
        Constraint("32 bytes in base64, such as `openssl rand -base64 32` prints; several, newest first"),
    ] = Field(
        default=(),
        description="Key from which the one-time tokens in mails are derived; the newest first, comma-"
        "separated. Unset: until a mail is sent, its token can be derived from the database alone.",
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys, the newest first."""
        return tuple(base64.b64decode(key.get_secret_value()) for key in self.key)
