"""The order of the outbox: what somebody waits for first, and nothing never. How much is pending."""

from datetime import timedelta

import pytest

from service.db.repositories.mail_requests import MailRequest, MailRequestRepository
from service.db.repositories.outbox import OutboxReads, OutboxRepository
from service.domain.callers import OPERATOR
from service.domain.mail import DeliveryFailed, MailKind
from service.services import Services
from tests.jobs.test_outbox import MailBox, dispatcher_for, enqueue, one
from tests.support.api import Api
from tests.support.databases import execute

BATCH = 8
INVITED = [f"user{number}@example.org" for number in range(30)]
VERIFIED = "UPDATE users SET email = 'ada@example.org', email_verified_at = now()"
MANY = """
    INSERT INTO outbox (id, kind, recipient, params, created_at, give_up_at)
    SELECT gen_random_uuid(), 'invitation', 'a@example.org', '{}', now() - n * interval '1 s',
           now() + interval '1 d'
    FROM generate_series(1, 10_005) n
    """


async def run(service: Services, box: MailBox) -> list[str]:
    """Send what is due; return the recipients in order of the batches."""
    before = len(box.sent)
    await dispatcher_for(service, box).run()
    return [recipient for recipient, _ in box.sent[before:]]


@pytest.mark.parametrize("kind", [MailKind.LOGIN_CODE, MailKind.RECOVERY, MailKind.VERIFY_EMAIL])
async def test_run_sends_what_somebody_waits_for_before_earlier_invitations(
    service: Services, kind: MailKind
) -> None:
    await enqueue(service.database, *INVITED, kind=MailKind.INVITATION)
    await enqueue(service.database, kind=kind)

    sent = await run(service, MailBox())

    assert "ada@example.org" in sent[:BATCH]
    assert len(sent) == len(INVITED) + 1


async def test_run_with_many_urgent_mails_sends_others_beside_them(service: Services) -> None:
    await enqueue(service.database, *INVITED, kind=MailKind.LOGIN_CODE)
    await enqueue(service.database, "ada@example.org", "bob@example.org")

    sent = await run(service, MailBox())

    assert {"ada@example.org", "bob@example.org"} <= set(sent[:BATCH])
    assert len(sent) == len(INVITED) + 2


async def test_run_after_a_failure_waits_and_then_sends_an_urgent_mail_first_again(service: Services) -> None:
    box = MailBox(DeliveryFailed("smtp 454"))
    await enqueue(service.database, *INVITED, kind=MailKind.INVITATION)
    await execute(service.engine, "UPDATE outbox SET locked_until = now() + interval '1 min'")
    await enqueue(service.database, kind=MailKind.LOGIN_CODE)
    await run(service, box)
    box.failure = None
    await run(service, box)
    assert box.sent == []  # the wait is not over

    await execute(service.engine, "UPDATE outbox SET next_attempt_at = next_attempt_at - interval '15 s'")
    await execute(service.engine, "UPDATE outbox SET locked_until = NULL")

    assert "ada@example.org" in (await run(service, box))[:BATCH]


@pytest.mark.parametrize("age", ["0 h", "11 h", "12 h", "22 h", "23 h"])
async def test_run_after_a_failure_of_an_urgent_mail_of_any_age_waits(service: Services, age: str) -> None:
    box = MailBox(DeliveryFailed("smtp 451"))
    await enqueue(service.database, kind=MailKind.VERIFY_EMAIL)
    aged = f"created_at = created_at - interval '{age}', next_attempt_at = next_attempt_at - interval '{age}'"
    await execute(service.engine, f"UPDATE outbox SET {aged}")

    for _ in range(2):
        await run(service, box)

    assert await one(service, "attempts") == (1,)


async def test_run_sends_a_code_that_is_asked_for_while_invitations_are_sent(
    api: Api, service: Services
) -> None:
    await api.account()
    await execute(service.engine, VERIFIED)
    await enqueue(service.database, *INVITED, kind=MailKind.INVITATION)
    box = MailBox()

    async def ask() -> None:
        box.before = None
        async with service.database.transaction(caller=OPERATOR) as tx:
            await MailRequestRepository(tx).add(MailRequest("recovery", None, "ada@example.org"))

    box.before = ask

    assert "ada@example.org" in (await run(service, box))[: 2 * BATCH]


async def test_retry_sends_a_mail_before_earlier_ones(service: Services) -> None:
    await enqueue(service.database)
    (mail_id,) = await one(service, "id")
    await execute(service.engine, "UPDATE outbox SET dead_at = now()")
    await enqueue(service.database, *INVITED, kind=MailKind.INVITATION)

    async with service.database.transaction(caller=OPERATOR) as tx:
        assert await OutboxRepository(tx).retry(mail_id)

    assert "ada@example.org" in (await run(service, MailBox()))[:BATCH]


@pytest.mark.parametrize("kind", [MailKind.LOGIN_CODE, MailKind.INVITATION])
async def test_list_shows_when_a_mail_is_due_not_its_place(service: Services, kind: MailKind) -> None:
    await enqueue(service.database, kind=kind)
    shown = []
    for failure in (None, DeliveryFailed("smtp 451")):
        if failure is not None:
            await run(service, MailBox(failure))
        async with service.database.transaction(caller=OPERATOR) as tx:
            (status,) = (await OutboxReads(tx).list_page(None, after=None, limit=10)).items
        shown.append(status.next_attempt_at - status.created_at)

    assert shown[0] == timedelta(0)
    assert shown[1] >= timedelta(seconds=15)


async def test_stats_with_a_large_backlog_count_the_first_ten_thousand(service: Services) -> None:
    await execute(service.engine, MANY)
    dispatcher = dispatcher_for(service, MailBox())

    await dispatcher.count_backlog()

    stats = dispatcher.stats()
    assert (stats.pending, 10_000 <= stats.oldest_seconds < 10_100) == (10_000, True)


async def test_run_sends_an_urgent_mail_before_invitations_of_almost_a_day_ago(service: Services) -> None:
    await enqueue(service.database, *INVITED, kind=MailKind.INVITATION)
    ago = "now() - interval '23 h 50 min'"
    await execute(service.engine, f"UPDATE outbox SET created_at = {ago}, next_attempt_at = {ago}")
    await enqueue(service.database, kind=MailKind.LOGIN_CODE)

    assert "ada@example.org" in (await run(service, MailBox()))[:BATCH]
