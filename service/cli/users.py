"""Commands for users."""

import sys

import click

from service.api.schemas.common import timestamp
from service.api.schemas.users import UserView
from service.cli.bulk import export_command, import_command
from service.cli.console import print_result, print_status
from service.cli.output import json_option, show_json, show_table
from service.db.repositories.users import UserRepository
from service.domain.callers import OPERATOR
from service.domain.details import NO_DETAILS, DetailsPatch
from service.domain.events import AuditContext
from service.domain.pages import PAGE_MAX, Keyset, UserFilter, UserSort
from service.domain.users import User, UserPatch, UserRole, UserState, canonical_login_id
from service.observability.logging import configure_logs
from service.services import (
    Services,
    configured_database,
    run_command,
    run_with_services,
)
from service.usecases.reset_tokens import create_reset_token
from service.usecases.users import Registration, create_user, grant_admin, prepare_user, update_user
from settings import get_settings

_OPERATOR = AuditContext(OPERATOR)
_ROLES = click.Choice([role.value for role in UserRole])
_STATES = click.Choice([state.value for state in UserState])
_COLUMNS = ("login id", "name", "role", "state", "created", "last login")


@click.group()
def users() -> None:
    """Manage users."""


users.add_command(import_command)
users.add_command(export_command)


@users.command()
@click.argument("login_id")
@click.option("--name", help="Display name of a new user. Default: the login id.")
def admin(login_id: str, name: str | None) -> None:
    """Create an administrator, or make an existing user one.

    The password of a new user is prompted for on a terminal and read from standard input otherwise.
    """
    settings = get_settings()
    configure_logs(settings, is_command=True)
    with configured_database(settings) as dsn:
        user = run_with_services(settings, dsn, lambda services: _grant(services, login_id))
        if user is not None:
            print_result(f"{user.login_id} is an administrator now.")
            return
        registration = Registration(
            login_id, name or login_id, password=_read_password(), role=UserRole.ADMIN
        )
        user = run_with_services(settings, dsn, lambda services: _create(services, registration))
        print_result(f"The administrator {user.login_id} was created.")


@users.command()
@click.argument("login_id")
@click.option("--name", help="Display name. Default: the login id.")
@click.option("--role", type=_ROLES, default=UserRole.USER.value, show_default=True)
@click.option("--no-password", is_flag=True, help="The user cannot log in before a password reset.")
@click.option(
    "--must-change/--no-must-change",
    default=True,
    show_default=True,
    help="The password must be changed within a day, before anything else.",
)
@click.option("--email", help="Verified e-mail address. Default: the login id if it is one, not verified.")
@json_option
def create(
    login_id: str,
    name: str | None,
    role: str,
    no_password: bool,
    must_change: bool,
    email: str | None,
    is_json: bool,
) -> None:
    """Create a user.

    The password is prompted for on a terminal and read from standard input otherwise.
    """
    password = None if no_password else _read_password()
    details = NO_DETAILS
    if email is not None:
        details = DetailsPatch(frozenset({"email", "email_verified"}), email, email_verified=True)
    registration = Registration(
        login_id,
        name or login_id,
        password=password,
        role=UserRole(role),
        must_change=must_change,
        details=details,
    )
    user = run_command(lambda services: _create(services, registration))
    _print_user(user, f"The user {user.login_id} was created.", is_json)


@users.command("list")
@click.option("--prefix", help="Prefix of the login id or the name, not case-sensitive.")
@click.option("--state", type=_STATES)
@click.option("--role", type=_ROLES)
@click.option("--limit", type=click.IntRange(1), default=PAGE_MAX, show_default=True)
@json_option
def list_(prefix: str | None, state: str | None, role: str | None, limit: int, is_json: bool) -> None:
    """List users by login id."""
    user_filter = UserFilter(
        prefix, state=UserState(state) if state else None, role=UserRole(role) if role else None
    )
    found, is_all = run_command(lambda services: _list(services, user_filter, limit))
    if is_json:
        show_json(*map(UserView.of, found))
    else:
        show_table(_COLUMNS, [_row(user) for user in found])
    if not is_all:
        print_status(f"There are more than {limit}; see --limit.")


@users.command()
@click.argument("login_id")
@json_option
def disable(login_id: str, is_json: bool) -> None:
    """Disable a user and end the sessions."""
    user = run_command(lambda services: _update(services, login_id, UserPatch(state=UserState.DISABLED)))
    _print_user(user, f"The user {user.login_id} is disabled and logged out.", is_json)


@users.command()
@click.argument("login_id")
@json_option
def enable(login_id: str, is_json: bool) -> None:
    """Enable a disabled user."""
    user = run_command(lambda services: _update(services, login_id, UserPatch(state=UserState.ACTIVE)))
    _print_user(user, f"The user {user.login_id} is enabled.", is_json)


@users.command("reset-password")
@click.argument("login_id")
@json_option
def reset_password(login_id: str, is_json: bool) -> None:
    """Print a token with which the user can set a new password once.

    The old password works until then. `POST /v1/reset-tokens/redeem` takes `token` and `new_password`.
    """
    token, expires_at = run_command(lambda services: _create_reset_token(services, login_id))
    if is_json:
        show_json({"token": token, "expires_at": expires_at})
        return
    print_result(token)
    print_status(f"It can be used once, until {expires_at}.")


async def _grant(services: Services, login_id: str) -> User | None:
    return await services.database.run(
        lambda tx: grant_admin(tx, login_id, context=_OPERATOR, policies=services.policies),
        caller=OPERATOR,
    )


async def _create(services: Services, registration: Registration) -> User:
    new = await prepare_user(
        registration, hasher=services.hasher, context=_OPERATOR, policies=services.policies
    )
    return await services.database.run(lambda tx: create_user(tx, new, context=_OPERATOR), caller=OPERATOR)


async def _list(services: Services, user_filter: UserFilter, limit: int) -> tuple[list[User], bool]:
    """Return at most `limit` users, and whether these are all."""
    found: list[User] = []
    after: Keyset | None = None
    while len(found) < limit:
        size = min(PAGE_MAX, limit - len(found))
        page = await services.reads.users.list_page(
            user_filter, sort=UserSort.LOGIN_ID, after=after, limit=size
        )
        found += page.items
        if page.next is None:
            return found, True
        after = page.next
    return found, False


async def _update(services: Services, login_id: str, patch: UserPatch) -> User:
    user = await _get(services, login_id)
    return await services.database.run(
        lambda tx: update_user(tx, user.id, patch, context=_OPERATOR, precondition=lambda _user: True),
        caller=OPERATOR,
    )


async def _create_reset_token(services: Services, login_id: str) -> tuple[str, str]:
    user = await _get(services, login_id)
    token, expires_at = await services.database.run(
        lambda tx: create_reset_token(tx, user.id, context=_OPERATOR, policies=services.policies),
        caller=OPERATOR,
    )
    return token.value, timestamp(expires_at)


async def _get(services: Services, login_id: str) -> User:
    charset = services.policies.login_ids
    canonical = canonical_login_id(login_id, charset)
    if canonical is None:
        raise click.UsageError(f"LOGIN_ID is not a login id: {charset.rule}")
    async with services.database.transaction(caller=OPERATOR) as tx:
        user = await UserRepository(tx).get_by_login_id(canonical)
    if user is None:
        raise click.ClickException("There is no such user.")
    return user


def _print_user(user: User, sentence: str, is_json: bool) -> None:
    if is_json:
        show_json(UserView.of(user))
    else:
        print_result(sentence)


def _row(user: User) -> tuple[str, ...]:
    last = f"{user.last_login_at:%Y-%m-%d %H:%M}" if user.last_login_at else ""
    return user.login_id, user.name, user.role, user.state, f"{user.created_at:%Y-%m-%d %H:%M}", last


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt(
            "Password", hide_input=True, confirmation_prompt="Repeat the password", err=True
        )
        return password
    try:
        return sys.stdin.buffer.readline().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.ClickException("The password on standard input is not UTF-8.") from None
