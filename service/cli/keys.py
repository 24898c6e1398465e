"""API keys from the command line."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import click

from service.api.schemas.keys import ApiKeyView
from service.cli.console import print_result, print_status
from service.cli.output import json_option, show_json, show_table
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.ids import parse_id
from service.domain.keys import ApiKey, Scope
from service.domain.pages import PAGE_MAX, Keyset
from service.services import Services, run_command
from service.usecases.keys import create_key, revoke_key

_OPERATOR = AuditContext(OPERATOR)
_COLUMNS = ("id", "name", "scopes", "starts", "created", "last used", "ends")


@click.group()
def keys() -> None:
    """API keys of other services."""


@keys.command()
@click.argument("name")
@click.option("--scopes", required=True, help=f"Comma-separated: {', '.join(Scope)}.")
@click.option("--days", type=click.IntRange(1, 3650), help="When it ends. Default: never.")
@json_option
def create(name: str, scopes: str, days: int | None, is_json: bool) -> None:
    """Create an API key, and print it on standard output, this once."""
    wanted = _scopes_of(scopes)
    ends_at = datetime.now(UTC) + timedelta(days=days) if days else None
    token, key = run_command(lambda service: _create(service, name, wanted, ends_at))
    if is_json:
        show_json({"key": token, "api_key": ApiKeyView.of(key)})
        return
    print_result(token)
    print_status("This key is shown once. Only its digest is kept.")


@keys.command("list")
@json_option
def list_(is_json: bool) -> None:
    """List the API keys, oldest first; never the keys themselves."""
    found = run_command(_list)
    if is_json:
        show_json(*map(ApiKeyView.of, found))
    else:
        show_table(_COLUMNS, [_row(key) for key in found])


@keys.command()
@click.argument("key_id")
@json_option
def revoke(key_id: str, is_json: bool) -> None:
    """Revoke the API key of an id, for good and at once."""
    parsed = parse_id(key_id)
    if parsed is None:
        raise click.UsageError("This is no id of a key; `keys list` shows them.")
    run_command(lambda service: _revoke(service, parsed))
    if is_json:
        show_json({"id": key_id, "revoked": True})
    else:
        print_result("The key is revoked.")


async def _create(
    service: Services, name: str, scopes: tuple[Scope, ...], ends_at: datetime | None
) -> tuple[str, ApiKey]:
    token, key = await service.uow().run(
        lambda tx: create_key(tx, name=name, scopes=scopes, expires_at=ends_at, context=_OPERATOR)
    )
    return token.value, key


async def _list(service: Services) -> list[ApiKey]:
    found: list[ApiKey] = []
    after: Keyset | None = None
    while True:
        page = await service.reads.keys.list_page(after=after, limit=PAGE_MAX)
        found += page.items
        if page.next is None:
            return found
        after = page.next


async def _revoke(service: Services, key_id: UUID) -> None:
    await service.uow().run(lambda tx: revoke_key(tx, key_id, context=_OPERATOR))


def _row(key: ApiKey) -> tuple[str, ...]:
    return (
        str(key.id),
        key.name,
        " ".join(key.scopes),
        key.prefix,
        _day(key.created_at),
        _day(key.last_used_at),
        _day(key.expires_at),
    )


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _scopes_of(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(dict.fromkeys(Scope(part.strip()) for part in text.split(",")))
    except ValueError:
        raise click.UsageError(f"Scopes are a comma-separated list of {', '.join(Scope)}.") from None
