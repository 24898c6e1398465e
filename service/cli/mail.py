"""Commands for mail."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import click

from service.api.schemas.common import timestamp_or_none
from service.cli.console import print_result, print_status
from service.cli.operator import read_pages, run_transaction
from service.cli.output import json_option, show, show_listing
from service.db.repositories.outbox import OutboxReads, OutboxRepository
from service.domain.emails import EMAIL_RULE, canonical_email
from service.domain.mail import DeliveryFailed, MailKind, MailState, MailStatus, QueuedMail
from service.domain.pages import PAGE_MAX
from service.jobs.delivery import create_delivery, create_renderer
from service.mail.samples import write_samples
from service.mail.templates import TemplateInvalid
from service.security.ids import new_id
from service.services import run_command
from settings import Settings, get_settings

_COLUMNS = ("id", "kind", "to", "state", "attempts", "created", "last error")


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
    found, _ = run_command(
        lambda services: read_pages(partial(OutboxReads(services.read_pool).list_page, wanted), limit)
    )
    show_listing(found, _COLUMNS, _row, _view, is_json=is_json)


@mail.command()
@click.argument("mail_id", type=click.UUID)
@json_option
def retry(mail_id: UUID, is_json: bool) -> None:
    """Send a mail as soon as possible, even one that was given up.

    One whose token is gone cannot be: ask for a new one.
    """
    if not run_transaction(lambda _, tx: OutboxRepository(tx).retry(mail_id)):
        raise click.ClickException(
            "There is no such mail, it was sent, or its token has expired: ask for a new one."
        )
    sentence = "The mail will be sent by the running service."
    show({"id": mail_id, "retried": True}, sentence, is_json=is_json)


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


async def _send_test(settings: Settings, address: str, locale: str | None) -> str:
    """Send a test mail; return where to."""
    delivery, mail_id = create_delivery(settings), new_id()
    message_id, at = f"{mail_id}@{delivery.domain}", datetime.now(UTC)
    queued = QueuedMail(mail_id, MailKind.TEST.value, address, locale, {}, message_id, 1, at)
    await delivery.transport.send(delivery.renderer.render(queued, None), address)
    return delivery.transport.describe()


def _view(status: MailStatus) -> dict[str, object]:
    times = ("created_at", "next_attempt_at", "sent_at", "dead_at")
    return {
        "id": status.id,
        "kind": status.kind,
        "recipient": status.recipient,
        "state": status.state,
        "attempts": status.attempts,
        **{name: timestamp_or_none(getattr(status, name)) for name in times},
        "last_error": status.last_error,
    }


def _row(status: MailStatus) -> tuple[str, ...]:
    mail = str(status.id), status.kind, status.recipient
    created = f"{status.created_at:%Y-%m-%d %H:%M}"
    return *mail, status.state, str(status.attempts), created, status.last_error or ""
