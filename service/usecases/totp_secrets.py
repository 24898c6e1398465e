"""The secrets of authenticator apps, which the database holds encrypted."""

from uuid import UUID

from service.db.repositories.encrypted import TOTP_SECRETS
from service.security.encryption import SecretCipher


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
