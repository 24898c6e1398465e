"""Commands for API keys."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import click

from service.api.schemas.keys import ApiKeyView
from service.cli.console import print_result, print_status
from service.cli.operator import AS_OPERATOR, read_pages, run_transaction
from service.cli.output import json_option, show, show_json, show_listing
from service.domain.keys import ApiKey, Scope
from service.services import run_command
from service.usecases.keys import create_key, revoke_key

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
    token, key = run_transaction(
        lambda services, tx: create_key(
            tx,
            name=name,
            scopes=parsed,
            expires_at=expires_at,
            context=AS_OPERATOR,
            policies=services.policies,
        )
    )
    if is_json:
        show_json({"key": token.value, "api_key": ApiKeyView.of(key)})
        return
    print_result(token.value)
    print_status(f"The id of the key, for tools that ask for a client id or a user name: {key.id}")
    print_status("This key is shown once. Only its digest is kept.")


@keys.command("list")
@json_option
def list_(is_json: bool) -> None:
    """List the API keys without their secrets, oldest first."""
    found, _ = run_command(lambda services: read_pages(services.reads.keys.list_page))
    show_listing(found, _COLUMNS, _row, ApiKeyView.of, is_json=is_json)


@keys.command()
@click.argument("key_id", type=click.UUID)
@json_option
def revoke(key_id: UUID, is_json: bool) -> None:
    """Revoke an API key immediately and permanently."""
    run_transaction(lambda _, tx: revoke_key(tx, key_id, context=AS_OPERATOR, precondition=lambda _key: True))
    show({"id": key_id, "revoked": True}, "The key is revoked.", is_json=is_json)


def _row(key: ApiKey) -> tuple[str, ...]:
    dates = map(_format_date, (key.created_at, key.last_used_at, key.expires_at))
    return str(key.id), key.name, " ".join(key.scopes), key.prefix, *dates


def _format_date(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _parse_scopes(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(dict.fromkeys(Scope(part.strip()) for part in text.split(",")))
    except ValueError:
        raise click.UsageError(f"SCOPES must be a comma-separated list of {', '.join(Scope)}.") from None
