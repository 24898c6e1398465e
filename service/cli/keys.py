"""API keys from the command line."""

import click

from service.app import Service
from service.cli.connection import database_of, with_service
from service.cli.console import note, say
from service.cli.logs import configure_logs
from service.domain.callers import OPERATOR
from service.domain.events import Origin
from service.domain.keys import KEY_NAME_MAX, Scope
from service.usecases.keys import create_key
from settings import get_settings


@click.group()
def keys() -> None:
    """API keys of other services."""


@keys.command()
@click.argument("name")
@click.option("--scopes", required=True, help=f"Comma-separated: {', '.join(Scope)}.")
def create(name: str, scopes: str) -> None:
    """Create an API key, and print it on standard output, this once."""
    wanted = _scopes_of(scopes)
    if not 1 <= len(name) <= KEY_NAME_MAX:
        raise click.UsageError(f"A key's name has 1 to {KEY_NAME_MAX} characters.")
    settings = get_settings()
    configure_logs(settings)

    async def make(service: Service) -> str:
        token, _ = await service.uow().run(
            lambda tx: create_key(tx, name=name, scopes=wanted, expires_at=None, origin=Origin(OPERATOR))
        )
        return token.value

    with database_of(settings) as dsn:
        say(with_service(settings, dsn, make))
    note("This key is shown once. Only its digest is kept.")


def _scopes_of(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(dict.fromkeys(Scope(part.strip()) for part in text.split(",")))
    except ValueError:
        raise click.UsageError(f"Scopes are a comma-separated list of {', '.join(Scope)}.") from None
