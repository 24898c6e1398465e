"""What commands need to read and write encrypted secrets."""

from typing import TYPE_CHECKING

import click

from service.services import Services

if TYPE_CHECKING:
    from service.security.encryption import SecretCipher


def require_cipher(services: Services) -> "SecretCipher":
    """Return the encryption of stored secrets.

    Raises: click.UsageError if it has no key.
    """
    if services.cipher is None:
        raise click.UsageError("ROLLCALL_SECRETS__KEY is not set: nothing is encrypted without it.")
    return services.cipher
