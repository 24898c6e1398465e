"""Send the mails of the outbox. Any number of processes may, each mail by one at a time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Final, Protocol

import structlog

from service.adapters.mail import MailTransport
from service.db.core.database import Database
from service.db.core.driver import ResultT
from service.db.core.transaction import Transaction
from service.db.repositories.outbox import ClaimedMails, OutboxRepository
from service.domain.callers import OPERATOR
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown
from service.domain.mail import DeliveryFailed, MailKind, QueuedMail, wait_after
from service.observability.exception_report import describe
from service.observability.stats import MailStats
from service.security.mail_tokens import MailTokens
from service.usecases.mail_requests import resolve_requests

_BATCH: Final = 8
"""Mails in delivery at once, each on a connection of its own."""
_REQUESTS: Final = 50
"""Requests that are resolved in one transaction."""
_SHUTDOWN_GRACE: Final = timedelta(seconds=3)
_LEASE_MARGIN: Final = timedelta(seconds=60)
_MARKS: Final = 8
"""Attempts to mark a mail, each with a pause: together about as long as the margin of the lease."""
_MARK_PAUSE: Final = timedelta(seconds=3)
_log = structlog.get_logger("rollcall")


class Renderer(Protocol):
    """Makes messages of mails."""

    def render(self, mail: QueuedMail, token: str | None) -> EmailMessage:
        """Return the message of a mail."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """How mails are sent. `timeout` limits one attempt; `domain` is that of new Message-IDs."""

    transport: MailTransport
    renderer: Renderer
    timeout: timedelta
    domain: str


class OutboxDispatcher:
    """Sends what is due, at least once and never before its transaction is committed.

    A mail is leased in one transaction, sent outside of any, and marked in another. A process that dies in
    between leaves the lease to run out; if the server had accepted the mail, it is sent again with the same
    Message-ID.
    """

    def __init__(
        self,
        database: Database,
        delivery: Callable[[], Delivery],
        *,
        tokens: MailTokens,
        jitter: Callable[[], float],
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._make_delivery = delivery
        self._delivery: Delivery | None = None
        self._jitter = jitter
        self._marking = asyncio.Lock()
        self._outcomes: Counter[str] = Counter()
        self._backlog = (0, 0.0)

    async def run(self) -> None:
        """Resolve the requests, send everything that is due; stop early if the server cannot be used.

        Requests are resolved before each batch: with many mails pending, a code would come too late.
        """
        while True:
            await self._resolve()
            mails, late = await self._claim()
            self._report_late(late)
            if await self._deliver_all(mails) or not (mails or late):
                break

    async def count_backlog(self) -> None:
        """Count what is pending, for `stats`."""
        self._backlog = await self._database.run(lambda tx: OutboxRepository(tx).backlog(), caller=OPERATOR)

    def stats(self) -> MailStats:
        """Return what was sent since the start, and what was pending when it was last counted."""
        count, oldest_seconds = self._backlog
        return MailStats(dict(self._outcomes), count, oldest_seconds)

    async def _resolve(self) -> None:
        count = _REQUESTS
        while count == _REQUESTS:
            count = await self._database.run(
                lambda tx: resolve_requests(tx, batch=_REQUESTS, tokens=self._tokens), caller=OPERATOR
            )

    async def _claim(self) -> ClaimedMails:
        delivery = self._prepared()
        lease = delivery.timeout + _LEASE_MARGIN
        return await self._database.run(
            lambda tx: OutboxRepository(tx).claim(_BATCH, lease=lease, domain=delivery.domain),
            caller=OPERATOR,
        )

    def _prepared(self) -> Delivery:
        """Return the delivery, made at the first run: a start must not wait for templates and TLS."""
        if self._delivery is None:
            self._delivery = self._make_delivery()
            _log.info("mail_transport", to=self._delivery.transport.describe())
        return self._delivery

    async def _deliver_all(self, mails: Sequence[QueuedMail]) -> bool:
        """Send mails concurrently; return whether the server cannot be used.

        A shutdown waits a few seconds for them: a mail that is accepted and not marked is sent again.
        """
        deliveries = asyncio.gather(*map(self._deliver, mails), return_exceptions=True)
        try:
            outcomes = await asyncio.shield(deliveries)
        except asyncio.CancelledError:
            await asyncio.wait([deliveries], timeout=_SHUTDOWN_GRACE.total_seconds())
            deliveries.cancel()
            raise
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return any(outcomes)

    async def _deliver(self, mail: QueuedMail) -> bool:
        """Send one mail and record the outcome; return whether the server cannot be used."""
        try:
            await self._send(mail)
        except DeliveryFailed as failure:
            await self._record_failure(mail, failure)
            return failure.is_outage
        if await self._mark_sent(mail):
            self._outcomes["sent"] += 1
            _log.info("mail_sent", mail_id=str(mail.id), kind=mail.kind, attempts=mail.attempts)
        return False

    async def _mark_sent(self, mail: QueuedMail) -> bool:
        """Mark a mail that the server has; try again during an outage, or it would be sent again.

        Marking twice is harmless: the second time finds nothing to mark.
        """
        for _ in range(_MARKS - 1):
            try:
                return await self._mark(lambda tx: OutboxRepository(tx).mark_sent(mail))
            except (DatabaseUnavailable, OutcomeUnknown):
                await asyncio.sleep(_MARK_PAUSE.total_seconds() * self._jitter())
        return await self._mark(lambda tx: OutboxRepository(tx).mark_sent(mail))

    async def _mark(self, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        """Run a transaction, one at a time: the heartbeat shares the few connections."""
        async with self._marking:
            return await self._database.run(work, caller=OPERATOR)

    async def _send(self, mail: QueuedMail) -> None:
        delivery = self._prepared()
        try:
            message = delivery.renderer.render(mail, self._token_of(mail))
        except DeliveryFailed:
            raise
        except Exception as error:  # a template or a row of a newer release: others must be sent
            _log.error("mail_not_rendered", mail_id=str(mail.id), kind=mail.kind, **describe(error))
            raise DeliveryFailed("rendering") from error
        await delivery.transport.send(message, mail.recipient)

    def _token_of(self, mail: QueuedMail) -> str | None:
        if mail.token is None:
            return None
        token = self._tokens.restore(MailKind(mail.kind), mail.token)
        if token is None:
            raise DeliveryFailed("the key of its token is gone", is_permanent=True)
        return token

    async def _record_failure(self, mail: QueuedMail, failure: DeliveryFailed) -> None:
        wait = wait_after(mail.attempts) * self._jitter()
        is_dead = await self._mark(
            lambda tx: OutboxRepository(tx).mark_failed(
                mail, reason=failure.reason, wait=wait, is_permanent=failure.is_permanent
            )
        )
        fields = {"mail_id": str(mail.id), "kind": mail.kind, "attempts": mail.attempts}
        if is_dead:
            self._outcomes["dead"] += 1
            _log.error("mail_dead", **fields, reason=failure.reason)
        else:
            self._outcomes["failed"] += 1
            _log.warning("mail_failed", **fields, reason=failure.reason)

    def _report_late(self, mails: Sequence[QueuedMail]) -> None:
        for mail in mails:
            self._outcomes["dead"] += 1
            _log.error("mail_dead", mail_id=str(mail.id), kind=mail.kind, reason="expired")
