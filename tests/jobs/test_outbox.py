"""The outbox: each mail at least once, never before its commit, and by one process at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.cleanup import Cleanup
from service.db.repositories.outbox import OutboxRepository
from service.domain.callers import OPERATOR
from service.domain.mail import DeliveryFailed, MailKind, NewMail, QueuedMail, wait_after
from service.jobs.outbox import Delivery, OutboxDispatcher
from service.security.mail_tokens import MailTokens
from service.services import Services
from tests.support.api import Api
from tests.support.databases import execute, fetch_values

FAILING_MARKS = (
    "CREATE SEQUENCE marks",
    "CREATE FUNCTION fail_mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF nextval('marks') <= 2 THEN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END IF;"
    " RETURN NEW; END $$",
    "CREATE TRIGGER fail_mark BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION fail_mark()",
)
RENEWED = "UPDATE outbox SET next_attempt_at = now(), locked_until = NULL"


class PlainRenderer:
    """Renders what the tests look at."""

    def render(self, mail: QueuedMail, token: str | None) -> EmailMessage:
        if mail.kind not in set(MailKind):
            raise ValueError(mail.kind)
        message = EmailMessage()
        message["Message-ID"], message["Subject"] = f"<{mail.message_id}>", mail.kind
        message.set_content(token or "")
        return message


@dataclass
class MailBox:
    """A transport that keeps mails, or fails as it is told to."""

    failure: DeliveryFailed | None = None
    before: Callable[[], Awaitable[None]] | None = None
    sent: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def send(self, message: EmailMessage, recipient: str) -> None:
        if self.before is not None:
            await self.before()
        if self.failure is not None:
            raise self.failure
        self.sent.append((recipient, message["Message-ID"]))
        self.tokens.append(message.get_content().strip())

    async def check(self) -> None:
        pass

    def describe(self) -> str:
        return "the tests"


def dispatcher_for(
    service: Services, box: MailBox, tokens: MailTokens | None = None, *, jitter: float = 1.0
) -> OutboxDispatcher:
    delivery = Delivery(box, PlainRenderer(), timedelta(seconds=10), "mail.example.org")
    tokens = tokens or MailTokens()
    return OutboxDispatcher(service.database, lambda: delivery, tokens=tokens, jitter=lambda: jitter)


async def enqueue(database: Database, *recipients: str, **fields: Any) -> None:
    async with database.transaction(caller=OPERATOR) as tx:
        for recipient in recipients or ("ada@example.org",):
            fields = {"kind": MailKind.PASSWORD_CHANGED} | fields
            await OutboxRepository(tx).add(NewMail(recipient=recipient, **fields))


async def one(service: Services, columns: str) -> tuple[Any, ...]:
    (row,) = await fetch_values(service.engine, f"SELECT {columns} FROM outbox")
    return row


async def test_run_sends_a_committed_mail_once(service: Services) -> None:
    box = MailBox()
    await enqueue(service.database)
    for _ in range(2):
        await dispatcher_for(service, box).run()
    ((recipient, message_id),) = box.sent
    (mail_id,) = await one(service, "id")
    assert (recipient, message_id) == ("ada@example.org", f"<{mail_id}@mail.example.org>")
    assert await one(service, "sent_at IS NOT NULL, attempts, params, token_seed") == (True, 1, {}, None)


async def test_run_sends_nothing_of_an_open_or_rolled_back_transaction(service: Services) -> None:
    box = MailBox()

    async def fail(tx: Transaction) -> None:
        await OutboxRepository(tx).add(NewMail(MailKind.RECOVERY, "ada@example.org"))
        await dispatcher_for(service, box).run()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await service.database.run(fail, caller=OPERATOR)
    await dispatcher_for(service, box).run()
    assert box.sent == []


async def test_run_by_many_dispatchers_sends_each_mail_once(service: Services) -> None:
    box = MailBox(before=lambda: asyncio.sleep(0.001))
    recipients = [f"user{number}@example.org" for number in range(50)]
    await enqueue(service.database, *recipients)
    await asyncio.gather(*(dispatcher_for(service, box).run() for _ in range(4)))
    assert sorted(recipient for recipient, _ in box.sent) == sorted(recipients)


async def test_run_after_a_crash_between_acceptance_and_commit_repeats_the_message_id(
    service: Services,
) -> None:
    box = MailBox()
    await enqueue(service.database)
    await dispatcher_for(service, box).run()
    await execute(service.engine, "UPDATE outbox SET sent_at = NULL, locked_until = now() + interval '1 min'")
    await dispatcher_for(service, box).run()
    assert len(box.sent) == 1  # leased
    await execute(service.engine, "UPDATE outbox SET locked_until = now()")
    await dispatcher_for(service, box).run()
    assert len(box.sent) == 2
    assert len(set(box.sent)) == 1


async def test_run_with_an_outage_of_the_database_after_acceptance_sends_nothing_again(
    service: Services,
) -> None:
    await enqueue(service.background_database)
    box = MailBox(before=lambda: run_all(service, FAILING_MARKS))
    try:
        await dispatcher_for(service, box, jitter=0.0).run()
    finally:
        await run_all(service, ("DROP FUNCTION fail_mark CASCADE", "DROP SEQUENCE marks"))
    await execute(service.engine, RENEWED)
    await dispatcher_for(service, box).run()
    assert len(box.sent) == 1
    assert await one(service, "sent_at IS NOT NULL, attempts") == (True, 1)


async def run_all(service: Services, statements: Iterable[str]) -> None:
    for statement in statements:
        await execute(service.engine, statement)


async def test_run_by_one_that_lost_its_lease_marks_nothing(service: Services) -> None:
    async def lose_lease() -> None:
        await execute(service.engine, "UPDATE outbox SET attempts = attempts + 1")

    box = MailBox(before=lose_lease)
    await enqueue(service.database)
    await dispatcher_for(service, box).run()
    assert await one(service, "sent_at, attempts") == (None, 2)


async def test_run_with_a_failing_server_waits_longer_each_time_until_it_gives_up(service: Services) -> None:
    box = MailBox(DeliveryFailed("smtp 451", is_outage=True))
    dispatcher = dispatcher_for(service, box)
    await enqueue(service.database)
    waits = []
    for _ in range(12):
        await dispatcher.run()
        (wait, dead_at) = await one(service, "next_attempt_at - now(), dead_at")
        assert dead_at is None
        waits.append(round(wait.total_seconds() + 0.4))
        await execute(service.engine, RENEWED)
    assert waits == [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    await execute(service.engine, "UPDATE outbox SET give_up_at = now() + interval '30 min'")
    with capture_logs() as lines:
        await dispatcher.run()
    assert await one(service, "dead_at IS NOT NULL, last_error") == (True, "smtp 451")
    assert [line["event"] for line in lines] == ["mail_dead"]
    await dispatcher.run()
    assert dispatcher.stats().outcomes == {"failed": 12, "dead": 1}


async def test_run_with_a_permanent_failure_gives_up_at_once_and_forgets_the_token(service: Services) -> None:
    box = MailBox(DeliveryFailed("smtp 550", is_permanent=True))
    made = MailTokens().new(MailKind.RECOVERY)
    await enqueue(service.database, kind=MailKind.RECOVERY, token=made.seed)
    await dispatcher_for(service, box).run()
    assert await one(service, "dead_at IS NOT NULL, token_seed, attempts") == (True, None, 1)


async def test_run_with_an_outage_stops_and_with_an_error_goes_on(service: Services) -> None:
    recipients = [f"user{number}@example.org" for number in range(20)]
    await enqueue(service.database, *recipients)
    box = MailBox(DeliveryFailed("timeout", is_outage=True))
    await dispatcher_for(service, box).run()
    tried = "SELECT count(*) FROM outbox WHERE attempts > 0"
    assert await fetch_values(service.engine, tried) == [(8,)]
    box.failure = DeliveryFailed("smtp 450")
    await execute(service.engine, RENEWED)
    await dispatcher_for(service, box).run()
    assert await fetch_values(service.engine, tried) == [(20,)]


async def test_run_restores_the_token_from_its_seed(service: Services) -> None:
    tokens, box = MailTokens([b"k" * 32]), MailBox()
    made = tokens.new(MailKind.VERIFY_EMAIL)
    await enqueue(service.database, kind=MailKind.VERIFY_EMAIL, token=made.seed)
    (rows,) = await fetch_values(service.engine, "SELECT outbox::text FROM outbox")
    assert made.value.removeprefix("rcv_") not in str(rows)
    await dispatcher_for(service, box, tokens).run()
    assert box.tokens == [made.value]
    assert await one(service, "token_seed") == (None,)


async def test_run_without_the_key_of_a_token_gives_up(service: Services) -> None:
    made, box = MailTokens([b"k" * 32]).new(MailKind.RECOVERY), MailBox()
    await enqueue(service.database, kind=MailKind.RECOVERY, token=made.seed)
    await dispatcher_for(service, box).run()
    assert box.sent == []
    assert await one(service, "dead_at IS NOT NULL, last_error") == (True, "the key of its token is gone")


async def test_run_of_a_mail_that_came_too_late_sends_nothing(service: Services) -> None:
    box = MailBox()
    await enqueue(service.database, ttl=timedelta(minutes=20))
    await execute(service.engine, "UPDATE outbox SET give_up_at = now()")
    with capture_logs() as lines:
        await dispatcher_for(service, box).run()
    assert (box.sent, [line["event"] for line in lines]) == ([], ["mail_transport", "mail_dead"])
    assert await one(service, "dead_at IS NOT NULL, last_error") == (True, "expired")


async def test_run_of_many_mails_that_came_too_late_sends_the_others(service: Services) -> None:
    """A batch at a time, and beside a process that has locked one of them."""
    box = MailBox()
    await enqueue(service.database, *(f"late{number}@example.org" for number in range(20)))
    await execute(service.engine, "UPDATE outbox SET give_up_at = now()")
    await enqueue(service.database)
    async with service.engine.begin() as other:
        await other.execute(text("SELECT id FROM outbox WHERE recipient LIKE 'late7@%' FOR UPDATE"))
        async with asyncio.timeout(30):
            await dispatcher_for(service, box).run()
    assert [recipient for recipient, _ in box.sent] == ["ada@example.org"]
    states = "SELECT count(sent_at), count(dead_at), sum(attempts) FROM outbox"
    assert await fetch_values(service.engine, states) == [(1, 19, 1)]


async def test_run_of_a_mail_that_cannot_be_rendered_tries_again_and_sends_the_others(
    service: Services,
) -> None:
    box = MailBox()
    await enqueue(service.database, "ada@example.org", "bob@example.org")
    await execute(service.engine, "UPDATE outbox SET kind = 'of_a_newer_release' WHERE recipient LIKE 'ada%'")
    with capture_logs() as lines:
        await dispatcher_for(service, box).run()
    assert [recipient for recipient, _ in box.sent] == ["bob@example.org"]
    assert {line["event"] for line in lines} >= {"mail_not_rendered", "mail_failed", "mail_sent"}
    assert "ada@example.org" not in str(lines)


async def test_cancel_during_delivery_marks_what_was_accepted(service: Services) -> None:
    is_sending = asyncio.Event()

    async def take_time() -> None:
        is_sending.set()
        await asyncio.sleep(0.05)

    box = MailBox(before=take_time)
    await enqueue(service.database)
    running = asyncio.create_task(dispatcher_for(service, box).run())
    await is_sending.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await one(service, "sent_at IS NOT NULL") == (True,)


async def test_delete_user_deletes_its_mails(api: Api, service: Services) -> None:
    ada = await api.account()
    await enqueue(service.database, user_id=ada.id)
    await execute(service.engine, "DELETE FROM users")
    assert await fetch_values(service.engine, "SELECT 1 FROM outbox") == []


async def test_retry_revives_a_dead_mail_but_not_one_without_its_token(service: Services) -> None:
    box = MailBox(DeliveryFailed("smtp 550", is_permanent=True))
    await enqueue(service.database, "ada@example.org")
    await enqueue(
        service.database,
        "bob@example.org",
        kind=MailKind.RECOVERY,
        token=MailTokens().new(MailKind.RECOVERY).seed,
    )
    await dispatcher_for(service, box).run()
    rows: Any = await fetch_values(service.engine, "SELECT id FROM outbox ORDER BY recipient")
    async with service.database.transaction(caller=OPERATOR) as tx:
        assert [await OutboxRepository(tx).retry(row[0]) for row in rows] == [True, False]
    box.failure = None
    await dispatcher_for(service, box).run()
    assert [recipient for recipient, _ in box.sent] == ["ada@example.org"]
    async with service.database.transaction(caller=OPERATOR) as tx:
        assert not await OutboxRepository(tx).retry(rows[0][0])  # it was sent


async def test_stats_tell_the_backlog_as_last_counted(service: Services) -> None:
    await enqueue(service.database)
    await execute(service.engine, "UPDATE outbox SET created_at = now() - interval '1 hour'")
    dispatcher = dispatcher_for(service, MailBox(DeliveryFailed("timeout", is_outage=True)))
    await dispatcher.run()
    await dispatcher.count_backlog()
    stats = dispatcher.stats()
    assert (stats.pending, 3600 <= stats.oldest_seconds < 3700) == (1, True)


async def test_purge_deletes_old_mails_that_were_sent_or_given_up(service: Services) -> None:
    await enqueue(service.database, "sent@example.org", "dead@example.org", "pending@example.org")
    await execute(service.engine, "UPDATE outbox SET sent_at = now() WHERE recipient LIKE 'sent%'")
    await execute(service.engine, "UPDATE outbox SET dead_at = now() WHERE recipient LIKE 'dead%'")
    await execute(service.engine, "UPDATE outbox SET created_at = now() - interval '8 days'")
    async with service.database.transaction(caller=OPERATOR) as tx:
        assert await Cleanup(tx).purge_mails(10, age=timedelta(days=7)) == 2
    assert await one(service, "recipient") == ("pending@example.org",)


def test_wait_after_many_failures_is_bounded() -> None:
    assert wait_after(10_000) == timedelta(hours=1)
