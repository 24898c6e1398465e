"""Counts of the mails that were asked for, each one atomic statement."""

from datetime import timedelta

from sqlalchemy import func, type_coerce
from sqlalchemy.dialects.postgresql import INTERVAL, insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.repositories.network_counts import HOUR, counted_in
from service.db.repositories.throttle_keys import keyed
from service.db.tables import MailCountRow

_COUNT = Statement(
    insert(MailCountRow)
    .values(digest=keyed("digest"), requests=1)
    .on_conflict_do_update(
        index_elements=[MailCountRow.digest],
        set_=counted_in(HOUR, MailCountRow.requests, MailCountRow.hour_started_at),
    )
    .returning(MailCountRow.requests, type_coerce(MailCountRow.hour_started_at + HOUR - func.now(), INTERVAL))
)


class MailCountRepository(Repository):
    """Counts of mails inside a transaction."""

    async def count(self, digest: bytes, limit: int) -> timedelta | None:
        """Count a mail; return the wait if there were too many in this hour.

        Locks: the count, until the transaction ends.
        """
        requests, wait = require_row(await self._tx.fetch_one(_COUNT, digest=digest))
        return wait if requests > limit else None
