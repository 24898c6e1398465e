"""Accounts from the command line."""

import sys

import click

from service.api.schemas.common import timestamp
from service.api.schemas.users import UserView
from service.app import Service
from service.cli.bulk import export_accounts, import_accounts
from service.cli.output import json_option, show_json, show_table
from service.console import print_result, print_status
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.pages import PAGE_MAX, Keyset, UserFilter, UserSort
from service.domain.users import Role, State, User, UserPatch, canonical_login_id
from service.observability.logging import configure_logs
from service.services import database_of, perform, with_service
from service.usecases.admins import grant_admin
from service.usecases.passwords import create_reset_token
from service.usecases.users import Registration, create_user, prepare_user, update_user
from settings import get_settings

_OPERATOR = AuditContext(OPERATOR)
_ROLES = click.Choice([role.value for role in Role])
_STATES = click.Choice([state.value for state in State])
_COLUMNS = ("login id", "name", "role", "state", "created", "last log-in")


@click.group()
def users() -> None:
    """Accounts."""


users.add_command(import_accounts)
users.add_command(export_accounts)


@users.command()
@click.argument("login_id")
@click.option("--name", help="The display name of a new account; the login id when left out.")
def admin(login_id: str, name: str | None) -> None:
    """Create an administrator, or give an existing account the role.

    The password of a new account is asked for twice on a terminal, and read from standard input otherwise.
    """
    settings = get_settings()
    configure_logs(settings, is_command=True)
    with database_of(settings) as dsn:
        user = with_service(settings, dsn, lambda service: _grant(service, login_id))
        if user is not None:
            print_result(f"{user.login_id} is an administrator now.")
            return
        wanted = Registration(login_id, name or login_id, password=_read_password(), role=Role.ADMIN)
        user = with_service(settings, dsn, lambda service: _create(service, wanted))
        print_result(f"The administrator {user.login_id} was created.")


@users.command()
@click.argument("login_id")
@click.option("--name", help="The display name; the login id when left out.")
@click.option("--role", type=_ROLES, default=Role.USER.value, show_default=True)
@click.option("--no-password", is_flag=True, help="Nobody can log in before a password reset.")
@json_option
def create(login_id: str, name: str | None, role: str, no_password: bool, is_json: bool) -> None:
    """Create an account.

    The password is asked for twice on a terminal, and read from standard input otherwise.
    """
    password = None if no_password else _read_password()
    wanted = Registration(login_id, name or login_id, password=password, role=Role(role))
    user = perform(lambda service: _create(service, wanted))
    _tell(user, f"The account {user.login_id} was created.", is_json)


@users.command("list")
@click.option("--prefix", help="Of the login id or the name, in any case.")
@click.option("--state", type=_STATES)
@click.option("--role", type=_ROLES)
@click.option("--limit", type=click.IntRange(1), default=PAGE_MAX, show_default=True)
@json_option
def list_(prefix: str | None, state: str | None, role: str | None, limit: int, is_json: bool) -> None:
    """List accounts by login id."""
    wanted = UserFilter(prefix, state=State(state) if state else None, role=Role(role) if role else None)
    found, is_all = perform(lambda service: _list(service, wanted, limit))
    if is_json:
        show_json(*map(UserView.of, found))
    else:
        show_table(_COLUMNS, [_row(user) for user in found])
    if not is_all:
        print_status(f"There are more than these {limit}; see --limit.")


@users.command()
@click.argument("login_id")
@json_option
def disable(login_id: str, is_json: bool) -> None:
    """Keep an account from logging in, and end its sessions."""
    user = perform(lambda service: _change(service, login_id, UserPatch(state=State.DISABLED)))
    _tell(user, f"{user.login_id} is disabled, and its sessions have ended.", is_json)


@users.command()
@click.argument("login_id")
@json_option
def enable(login_id: str, is_json: bool) -> None:
    """Let a disabled account log in again."""
    user = perform(lambda service: _change(service, login_id, UserPatch(state=State.ACTIVE)))
    _tell(user, f"{user.login_id} can log in.", is_json)


@users.command("reset-password")
@click.argument("login_id")
@json_option
def reset_password(login_id: str, is_json: bool) -> None:
    """Print a token with which the owner sets a new password, once.

    The old password works until then. `POST /v1/reset-tokens/redeem` takes `token` and `new_password`.
    """
    token, ends_at = perform(lambda service: _reset(service, login_id))
    if is_json:
        show_json({"token": token, "expires_at": ends_at})
        return
    print_result(token)
    print_status(f"It can be used once, until {ends_at}.")


async def _grant(service: Service, login_id: str) -> User | None:
    return await service.uow().run(
        lambda tx: grant_admin(tx, login_id, context=_OPERATOR, policies=service.policies)
    )


async def _create(service: Service, wanted: Registration) -> User:
    new = await prepare_user(wanted, hasher=service.hasher, context=_OPERATOR, policies=service.policies)
    return await service.uow().run(lambda tx: create_user(tx, new, context=_OPERATOR))


async def _list(service: Service, wanted: UserFilter, limit: int) -> tuple[list[User], bool]:
    """Give at most `limit` accounts, and whether these are all."""
    found: list[User] = []
    after: Keyset | None = None
    while len(found) < limit:
        size = min(PAGE_MAX, limit - len(found))
        page = await service.reads.users.list_page(wanted, sort=UserSort.LOGIN_ID, after=after, limit=size)
        found += page.items
        if page.next is None:
            return found, True
        after = page.next
    return found, False


async def _change(service: Service, login_id: str, change: UserPatch) -> User:
    user = await _find(service, login_id)
    return await service.uow().run(
        lambda tx: update_user(
            tx, user.id, change, context=_OPERATOR, policies=service.policies, precondition=lambda _user: True
        )
    )


async def _reset(service: Service, login_id: str) -> tuple[str, str]:
    user = await _find(service, login_id)
    token, ends_at = await service.uow().run(
        lambda tx: create_reset_token(tx, user.id, context=_OPERATOR, policies=service.policies)
    )
    return token.value, timestamp(ends_at)


async def _find(service: Service, login_id: str) -> User:
    canonical = canonical_login_id(login_id, service.policies.login_ids)
    async with service.uow() as tx:
        user = await tx.users.get_by_login_id(canonical) if canonical is not None else None
    if user is None:
        raise click.ClickException("There is no such account.")
    return user


def _tell(user: User, sentence: str, is_json: bool) -> None:
    if is_json:
        show_json(UserView.of(user))
    else:
        print_result(sentence)


def _row(user: User) -> tuple[str, ...]:
    last = f"{user.last_login_at:%Y-%m-%d %H:%M}" if user.last_login_at else ""
    return user.login_id, user.name, user.role, user.state, f"{user.created_at:%Y-%m-%d %H:%M}", last


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")
