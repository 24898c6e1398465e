"""Commands for API keys."""

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
_COLUMNS = ("id", "name", "scopes", "prefix", "created", "last used", "expires")


@click.group()
def keys() -> None:
    """Manage API keys."""


@keys.command()
@click.argument("name")
@click.option("--scopes", required=True, help=f"Comma-separated: {', '.join(Scope)}.")
@click.option("--days", type=click.IntRange(1, 3650), help="Lifetime in days. Default: unlimited.")
@json_option
def create(name: str, scopes: str, days: int | None, is_json: bool) -> None:
    """Create an API key and print it once, on standard output."""
    parsed = _parse_scopes(scopes)
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    token, key = run_command(lambda services: _create(services, name, parsed, expires_at))
    if is_json:
        show_json({"key": token, "api_key": ApiKeyView.of(key)})
        return
    print_result(token)
    print_status("This key is shown once. Only its digest is kept.")


@keys.command("list")
@json_option
def list_(is_json: bool) -> None:
    """List the API keys without their secrets, oldest first."""
    found = run_command(_list)
    if is_json:
        show_json(*map(ApiKeyView.of, found))
    else:
        show_table(_COLUMNS, [_row(key) for key in found])


@keys.command()
@click.argument("key_id")
@json_option
def revoke(key_id: str, is_json: bool) -> None:
    """Revoke an API key immediately and permanently."""
    parsed = parse_id(key_id)
    if parsed is None:
        raise click.UsageError("KEY_ID is not an id; see `keys list`.")
    run_command(lambda services: _revoke(services, parsed))
    if is_json:
        show_json({"id": key_id, "revoked": True})
    else:
        print_result("The key is revoked.")


async def _create(
    services: Services, name: str, scopes: tuple[Scope, ...], expires_at: datetime | None
) -> tuple[str, ApiKey]:
    token, key = await services.database.run(
        lambda tx: create_key(
            tx,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            context=_OPERATOR,
            policies=services.policies,
        ),
        caller=OPERATOR,
    )
    return token.value, key


async def _list(services: Services) -> list[ApiKey]:
    found: list[ApiKey] = []
    after: Keyset | None = None
    while True:
        page = await services.reads.keys.list_page(after=after, limit=PAGE_MAX)
        found += page.items
        if page.next is None:
            return found
        after = page.next


async def _revoke(services: Services, key_id: UUID) -> None:
    await services.database.run(
        lambda tx: revoke_key(tx, key_id, context=_OPERATOR, precondition=lambda _key: True),
        caller=OPERATOR,
    )


def _row(key: ApiKey) -> tuple[str, ...]:
    return (
        str(key.id),
        key.name,
        " ".join(key.scopes),
        key.prefix,
        _format_date(key.created_at),
        _format_date(key.last_used_at),
        _format_date(key.expires_at),
    )


def _format_date(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _parse_scopes(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(dict.fromkeys(Scope(part.strip()) for part in text.split(",")))
    except ValueError:
        raise click.UsageError(f"SCOPES must be a comma-separated list of {', '.join(Scope)}.") from None
