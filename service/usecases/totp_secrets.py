"""The secrets of authenticator apps, which the database holds encrypted."""

from uuid import UUID

import structlog

from service.db.repositories.encrypted import TOTP_SECRETS
from service.db.repositories.second_factors import StoredTotp
from service.security.encryption import SecretCipher, SecretUnreadable
from service.security.totp import matching_step

_log = structlog.get_logger(__name__)


class TotpSecrets:
    """Encrypts each secret for its row. Source: OWASP ASVS 5.0 11.3.2, 13.3.1."""

    def __init__(self, cipher: SecretCipher) -> None:
        self._cipher = cipher

    def encrypt(self, row_id: UUID, secret: bytes) -> bytes:
        """Return the ciphertext of a secret."""
        return self._cipher.encrypt(secret, TOTP_SECRETS.place_of(row_id))

    def decrypt(self, row_id: UUID, ciphertext: bytes) -> bytes:
        """Return the secret.

        Raises:
            SecretUnreadable: its key is not configured, or it is not the ciphertext of this row.
        """
        return self._cipher.decrypt(ciphertext, TOTP_SECRETS.place_of(row_id))

    def matching_step(self, stored: StoredTotp, code: str) -> int | None:
        """Return the unused time step whose code this is, or None. An unreadable secret is logged."""
        try:
            secret = self.decrypt(stored.id, stored.encrypted)
        except SecretUnreadable:
            _log.error("totp_secret_unreadable", row_id=str(stored.id))
            return None
        return matching_step(secret, code, stored.now, after_step=stored.last_step)
