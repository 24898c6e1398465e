"""Re-encrypting stored secrets under the newest key, while the service runs."""

from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from service.db.core.database import Database
from service.db.repositories.encrypted import ENCRYPTED_COLUMNS, EncryptedColumn, reencrypt
from service.domain.callers import OPERATOR
from service.security.encryption import SecretCipher

BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """What a run did to a column; `unreadable` secrets are under no configured key and were left."""

    purpose: str
    done: int
    unreadable: int


async def rotate_secrets(
    database: Database, cipher: SecretCipher, *, batch: int = BATCH
) -> list[Reencrypted]:
    """Re-encrypt every secret that is not under the newest key, each batch in a transaction of its own.

    It can be interrupted and repeated: what is done is left out.
    """
    return [await _rotate_column(database, cipher, column, batch) for column in ENCRYPTED_COLUMNS]


async def _rotate_column(
    database: Database, cipher: SecretCipher, column: EncryptedColumn, batch: int
) -> Reencrypted:
    done = unreadable = 0
    after: UUID | None = None
    while True:
        work = partial(reencrypt, column=column, cipher=cipher, after=after, batch=batch)
        result = await database.run(work, caller=OPERATOR)
        done, unreadable, after = done + result.done, unreadable + result.unreadable, result.last_id
        if after is None:
            return Reencrypted(column.purpose, done, unreadable)
