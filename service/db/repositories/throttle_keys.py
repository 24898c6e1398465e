"""The key of the digests under which failed logins and mails are counted."""

from typing import Final

from sqlalchemy import ColumnElement, LargeBinary, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import ThrottleKeyRow

_no_key: Final = literal(b"", LargeBinary)
_key: Final = func.coalesce(select(ThrottleKeyRow.key).scalar_subquery(), _no_key, type_=LargeBinary)
_random: Final = func.uuid_send(func.gen_random_uuid(), type_=LargeBinary)
_ENSURE: Final = Statement(
    insert(ThrottleKeyRow).values(key=func.sha256(_random.op("||")(_random))).on_conflict_do_nothing()
)


def keyed(name: str) -> ColumnElement[bytes]:
    """Return the stored form of the digest of 32 bytes that is the parameter `name`.

    PostgreSQL reads the key in the statement that uses it, so no process keeps it, and no statement is added.
    Key and digest have fixed lengths, so nothing can be appended, and SHA-256 of both is enough.
    """
    return func.sha256(_key.op("||")(bindparam(name, type_=LargeBinary)), type_=LargeBinary)


class ThrottleKeyRepository(Repository):
    """The key inside a transaction."""

    async def ensure(self) -> None:
        """Make a key if there is none, as after the restore of a dump that left it out.

        Until then, digests are stored as if the key was empty.
        """
        await self._tx.execute(_ENSURE)
