"""Commands for mail."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from service.api.schemas.common import timestamp, timestamp_or_none
from service.cli.console import print_result, print_status
from service.cli.output import json_option, show_json, show_table
from service.db.repositories.outbox import OutboxReads, OutboxRepository
from service.domain.callers import OPERATOR
from service.domain.emails import EMAIL_RULE, canonical_email
from service.domain.ids import parse_id
from service.domain.mail import DeliveryFailed, MailKind, MailState, MailStatus, QueuedMail
from service.domain.pages import PAGE_MAX, Keyset
from service.jobs.delivery import create_delivery, create_renderer
from service.mail.samples import write_samples
from service.mail.templates import TemplateInvalid
from service.security.ids import new_id
from service.services import Services, run_command
from settings import Settings, get_settings

_COLUMNS = ("id", "kind", "to", "state", "attempts", "created", "last error")


class MailView(msgspec.Struct, frozen=True):
    """A mail of the outbox, as `mail list --json` prints it."""

    id: str
    kind: str
    recipient: str
    state: MailState
    attempts: int
    created_at: str
    next_attempt_at: str
    sent_at: str | None
    dead_at: str | None
    last_error: str | None


@click.group()
def mail() -> None:
    """Manage outgoing mail."""


@mail.command("list")
@click.option("--state", type=click.Choice([state.value for state in MailState]))
@click.option("--limit", type=click.IntRange(1), default=PAGE_MAX, show_default=True)
@json_option
def list_(state: str | None, limit: int, is_json: bool) -> None:
    """List mails that wait, were sent, or could not be sent (dead), newest first."""
    wanted = MailState(state) if state else None
    found = run_command(lambda services: _list(services, wanted, limit))
    if is_json:
        show_json(*map(_view, found))
    else:
        show_table(_COLUMNS, [_row(status) for status in found])


@mail.command()
@click.argument("mail_id")
@json_option
def retry(mail_id: str, is_json: bool) -> None:
    """Send a mail as soon as possible, even one that was given up.

    One whose token is gone cannot be: ask for a new one.
    """
    parsed = parse_id(mail_id)
    if parsed is None:
        raise click.UsageError("MAIL_ID is not an id; see `mail list`.")
    is_found = run_command(
        lambda services: services.database.run(lambda tx: OutboxRepository(tx).retry(parsed), caller=OPERATOR)
    )
    if not is_found:
        raise click.ClickException(
            "There is no such mail, it was sent, or its token has expired: ask for a new one."
        )
    if is_json:
        show_json({"id": mail_id, "retried": True})
    else:
        print_result("The mail will be sent by the running service.")


@mail.command("test")
@click.argument("address")
@click.option("--locale", help="Language, such as de. Default: en.")
def test_(address: str, locale: str | None) -> None:
    """Send a test mail to ADDRESS at once, without the outbox."""
    recipient = canonical_email(address)
    if recipient is None:
        raise click.UsageError(f"ADDRESS is not an e-mail address. {EMAIL_RULE}")
    settings = get_settings()
    try:
        described = asyncio.run(_send_test(settings, recipient, locale))
    except DeliveryFailed as failure:
        raise click.ClickException(f"The mail was not accepted: {failure.reason}.") from None
    except (TemplateInvalid, ValueError) as error:
        raise click.ClickException(f"The mail cannot be made: {error}.") from None
    print_result(f"Accepted by {described}.")


@mail.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def samples(folder: Path) -> None:
    """Write every mail in every language to FOLDER, with an index page: text, HTML and the whole message."""
    try:
        count = write_samples(create_renderer(get_settings()), folder)
    except TemplateInvalid as error:
        raise click.ClickException(str(error)) from None
    print_result(str(folder / "index.html"))
    print_status(f"{count} mails.")


async def _list(services: Services, state: MailState | None, limit: int) -> list[MailStatus]:
    found: list[MailStatus] = []
    after: Keyset | None = None
    while len(found) < limit:
        async with services.database.transaction(caller=OPERATOR) as tx:
            page = await OutboxReads(tx).list_page(
                state, after=after, limit=min(PAGE_MAX, limit - len(found))
            )
        found += page.items
        if page.next is None:
            break
        after = page.next
    return found


async def _send_test(settings: Settings, address: str, locale: str | None) -> str:
    """Send a test mail; return where to."""
    delivery, mail_id = create_delivery(settings), new_id()
    queued = QueuedMail(
        mail_id,
        MailKind.TEST.value,
        address,
        locale,
        {},
        f"{mail_id}@{delivery.domain}",
        1,
        datetime.now(UTC),
    )
    await delivery.transport.send(delivery.renderer.render(queued, None), address)
    return delivery.transport.describe()


def _view(status: MailStatus) -> MailView:
    return MailView(
        str(status.id),
        status.kind,
        status.recipient,
        status.state,
        status.attempts,
        timestamp(status.created_at),
        timestamp(status.next_attempt_at),
        timestamp_or_none(status.sent_at),
        timestamp_or_none(status.dead_at),
        status.last_error,
    )


def _row(status: MailStatus) -> tuple[str, ...]:
    return (
        str(status.id),
        status.kind,
        status.recipient,
        status.state,
        str(status.attempts),
        f"{status.created_at:%Y-%m-%d %H:%M}",
        status.last_error or "",
    )
