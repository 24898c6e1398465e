"""Requests for mails of people who are not logged in."""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, select

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import Repository, is_one_of
from service.db.tables import MailRequestRow
from service.security.ids import new_id


class MailRequest(NamedTuple):
    """What somebody asked for: a mail of a kind, for a login id or an address in canonical form."""

    kind: str
    login_id: str | None
    email: str | None
    code_token_digest: bytes | None = None
    ip: str | None = None
    request_id: str | None = None


_REQUEST = columns_of(MailRequest, MailRequestRow)
_ADD = Statement(insert(MailRequestRow), "id", *MailRequest._fields)
_oldest = (
    select(MailRequestRow.id)
    .order_by(MailRequestRow.id)
    .limit(bindparam("batch"))
    .with_for_update(skip_locked=True)
    .cte("oldest")
)
_TAKE = Statement(
    delete(MailRequestRow).where(is_one_of(MailRequestRow.id, select(_oldest.c.id))).returning(*_REQUEST)
)


class MailRequestRepository(Repository):
    """Requests inside a transaction."""

    async def add(self, request: MailRequest) -> None:
        """Insert a request."""
        await self._tx.execute(_ADD, id=new_id(), **request._asdict())

    async def take(self, batch: int) -> list[MailRequest]:
        """Delete the oldest requests and return them; those that another process has taken are left out."""
        return [_REQUEST.decode(row) for row in await self._tx.fetch_all(_TAKE, batch=batch)]
