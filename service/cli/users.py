"""Accounts from the command line."""

import sys

import click

from service.app import Service
from service.cli.connection import database_of, with_service
from service.cli.console import say
from service.cli.logs import configure_logs
from service.domain.callers import OPERATOR
from service.domain.errors import ValidationFailed
from service.domain.events import Origin
from service.domain.users import Role, User
from service.usecases.admins import grant_admin
from service.usecases.users import Registration, create_user, prepare_user
from settings import get_settings

_OPERATOR = Origin(OPERATOR)


@click.group()
def users() -> None:
    """Accounts."""


@users.command()
@click.argument("login_id")
@click.option("--name", help="The display name of a new account; the login id when left out.")
def admin(login_id: str, name: str | None) -> None:
    """Create an administrator, or give an existing account the role.

    The password of a new account is asked for twice on a terminal, and read from standard input otherwise.
    """
    settings = get_settings()
    configure_logs(settings)
    with database_of(settings) as dsn:
        user = with_service(settings, dsn, lambda service: _grant(service, login_id))
        if user is not None:
            say(f"{user.login_id} is an administrator now.")
            return
        wanted = Registration(login_id, name or login_id, password=_read_password(), role=Role.ADMIN)
        user = with_service(settings, dsn, lambda service: _create(service, wanted))
        say(f"The administrator {user.login_id} was created.")


async def _grant(service: Service, login_id: str) -> User | None:
    try:
        return await service.uow().run(
            lambda tx: grant_admin(tx, login_id, origin=_OPERATOR, rules=service.rules)
        )
    except ValidationFailed as error:
        raise _in_words(error) from None


async def _create(service: Service, wanted: Registration) -> User:
    try:
        new = await prepare_user(wanted, hasher=service.hasher, origin=_OPERATOR, rules=service.rules)
    except ValidationFailed as error:
        raise _in_words(error) from None
    return await service.uow().run(lambda tx: create_user(tx, new, origin=_OPERATOR))


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")


def _in_words(error: ValidationFailed) -> click.ClickException:
    return click.ClickException(" ".join(fault.detail for fault in error.faults))
