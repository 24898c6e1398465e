"""The columns whose values are encrypted, under which keys, and their encryption under a new one."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Integer, LargeBinary, Uuid, bindparam, func, select, update

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.base import ReadRepository
from service.db.tables import SigningKeyRow, TotpSecretRow
from service.security.encryption import HEADER_BYTES, Place, SecretCipher, SecretUnreadable

_FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one batch: the rows re-encrypted, those that no key decrypts, and the last row seen."""

    done: int
    unreadable: int
    last_id: UUID | None


class EncryptedColumn:
    """A column of ciphertexts in a table with the primary key `id`."""

    def __init__(self, table: Any, column: str) -> None:
        secret, id_ = getattr(table, column), table.id
        self.purpose: Final = f"{table.__tablename__}.{column}"
        self.select_stale: Final = Statement(
            select(id_, secret)
            .where(
                id_ > bindparam("after", type_=Uuid()),
                func.substring(secret, 1, HEADER_BYTES) != bindparam("header", type_=LargeBinary()),
            )
            .order_by(id_)
            .limit(bindparam("batch", type_=Integer()))
            .with_for_update()
        )
        header = func.substring(secret, 1, HEADER_BYTES)
        self.count_by_header: Final = Statement(
            select(header, func.count()).where(secret.is_not(None)).group_by(header)
        )
        self.update: Final = Statement(
            update(table)
            .where(id_ == bindparam("row_id"))
            .values({column: bindparam("ciphertext", type_=LargeBinary())})
        )

    def place_of(self, row_id: UUID) -> Place:
        """Return where the secret of a row is stored."""
        return Place(self.purpose, row_id)


PRIVATE_KEYS: Final = EncryptedColumn(SigningKeyRow, "private_key")
TOTP_SECRETS: Final = EncryptedColumn(TotpSecretRow, "secret")
ENCRYPTED_COLUMNS: Final = (PRIVATE_KEYS, TOTP_SECRETS)
"""Every column that `secrets rotate` re-encrypts; a test compares it with the columns of bytes."""


class EncryptedReads(ReadRepository):
    """Reads about encrypted secrets."""

    async def count_by_header(self, column: EncryptedColumn) -> Mapping[bytes, int]:
        """Count the secrets of a column by their header, which names the key of each."""
        rows = await self._executor.fetch_all(column.count_by_header)
        return {row[0]: row[1] for row in rows}


async def reencrypt(
    tx: Transaction, *, column: EncryptedColumn, cipher: SecretCipher, after: UUID | None, batch: int
) -> Batch:
    """Encrypt secrets of older keys under the newest, in the order of their ids, from `after` on.

    Locks: the rows of the batch.
    """
    rows = await tx.fetch_all(column.select_stale, after=after or _FIRST, header=cipher.header, batch=batch)
    done = 0
    for row_id, ciphertext in rows:
        place = column.place_of(row_id)
        with suppress(SecretUnreadable):
            secret = cipher.decrypt(ciphertext, place)
            await tx.execute(column.update, row_id=row_id, ciphertext=cipher.encrypt(secret, place))
            done += 1
    return Batch(done, len(rows) - done, rows[-1][0] if len(rows) == batch else None)
