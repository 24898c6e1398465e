"""Commands for users."""

import sys
from datetime import datetime
from functools import partial
from typing import Any

import click

from service.api.schemas.common import timestamp
from service.api.schemas.users import UserView
from service.cli.bulk import export_command, import_command
from service.cli.console import print_result, print_status
from service.cli.operator import AS_OPERATOR, read_pages, run_transaction
from service.cli.output import json_option, show, show_listing
from service.db.core.transaction import Transaction
from service.db.repositories.users import UserRepository
from service.domain.callers import OPERATOR
from service.domain.details import DetailsPatch
from service.domain.pages import PAGE_MAX, UserFilter, UserSort
from service.domain.users import User, UserPatch, UserRole, UserState, canonical_login_id
from service.observability.logging import configure_logs
from service.security.tokens import Token
from service.services import Services, configured_database, run_command, run_with_services
from service.usecases import mail_requests
from service.usecases.reset_tokens import create_reset_token
from service.usecases.users import Registration, create_user, grant_admin, prepare_user, update_user
from settings import get_settings

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
        registration = Registration(login_id, name or login_id, _read_password(), role=UserRole.ADMIN)
        user = run_with_services(settings, dsn, lambda services: _create(services, registration))
        print_result(f"The administrator {user.login_id} was created.")


@users.command()
@click.argument("login_id")
@click.option("--name", help="Display name. Default: the login id.")
@click.option("--role", type=_ROLES, default=UserRole.USER.value, show_default=True)
@click.option("--no-password", is_flag=True, help="The user cannot log in before a password reset.")
@click.option("--invite", is_flag=True, help="Mail the user a link to choose a password, valid for 7 days.")
@click.option(
    "--must-change/--no-must-change",
    default=True,
    show_default=True,
    help="The password must be changed within a day, before anything else.",
)
@click.option("--email", help="Verified e-mail address. Default: the login id if it is one, not verified.")
@click.option("--locale", help="Language of mails and pages, such as de or pt-BR.")
@click.option("--external-id", help="The id of the user in another system.")
@json_option
def create(
    login_id: str,
    name: str | None,
    role: str,
    no_password: bool,
    invite: bool,
    must_change: bool,
    is_json: bool,
    **details: str | None,
) -> None:
    """Create a user.

    The password is prompted for on a terminal and read from standard input otherwise.
    """
    given: dict[str, Any] = {field: text for field, text in details.items() if text is not None}
    registration = Registration(
        login_id,
        name or login_id,
        password=None if no_password or invite else _read_password(),
        role=UserRole(role),
        must_change=must_change and not invite,
        details=DetailsPatch.of(given | {"email_verified": True} if "email" in given else given),
        invite=invite,
    )
    user = run_command(lambda services: _create(services, registration))
    invited = "; the running service sends the invitation" if invite else ""
    show(UserView.of(user), f"The user {user.login_id} was created{invited}.", is_json=is_json)


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
    found, is_all = run_command(
        lambda services: read_pages(
            partial(services.reads.users.list_page, user_filter, sort=UserSort.LOGIN_ID), limit
        )
    )
    show_listing(found, _COLUMNS, _row, UserView.of, is_json=is_json)
    if not is_all:
        print_status(f"There are more than {limit}; see --limit.")


@users.command()
@click.argument("login_id")
@json_option
def disable(login_id: str, is_json: bool) -> None:
    """Disable a user and end the sessions."""
    user = run_transaction(partial(_set_state, login_id, UserState.DISABLED))
    show(UserView.of(user), f"The user {user.login_id} is disabled and logged out.", is_json=is_json)


@users.command()
@click.argument("login_id")
@json_option
def enable(login_id: str, is_json: bool) -> None:
    """Enable a disabled user."""
    user = run_transaction(partial(_set_state, login_id, UserState.ACTIVE))
    show(UserView.of(user), f"The user {user.login_id} is enabled.", is_json=is_json)


@users.command("reset-password")
@click.argument("login_id")
@json_option
def reset_password(login_id: str, is_json: bool) -> None:
    """Print a token with which the user can set a new password once.

    The old password works until then. `POST /v1/reset-tokens/redeem` takes `token` and `new_password`.
    """
    token, expires_at = run_transaction(partial(_create_reset_token, login_id))
    until = timestamp(expires_at)
    show({"token": token.value, "expires_at": until}, token.value, is_json=is_json)
    if not is_json:
        print_status(f"It can be used once, until {until}.")


async def _grant(services: Services, login_id: str) -> User | None:
    return await services.database.run(
        lambda tx: grant_admin(tx, login_id, context=AS_OPERATOR, policies=services.policies),
        caller=OPERATOR,
    )


async def _create(services: Services, registration: Registration) -> User:
    new = await prepare_user(
        registration, hasher=services.hasher, context=AS_OPERATOR, policies=services.policies
    )

    async def create(tx: Transaction) -> User:
        user = await create_user(tx, new, context=AS_OPERATOR)
        if registration.invite:
            await mail_requests.invite(tx, user, context=AS_OPERATOR, tokens=services.mail_tokens)
        return user

    return await services.database.run(create, caller=OPERATOR)


async def _set_state(login_id: str, state: UserState, services: Services, tx: Transaction) -> User:
    user, patch = await _get(login_id, services, tx), UserPatch(state=state)
    return await update_user(tx, user.id, patch, context=AS_OPERATOR, precondition=lambda _user: True)


async def _create_reset_token(login_id: str, services: Services, tx: Transaction) -> tuple[Token, datetime]:
    user = await _get(login_id, services, tx)
    return await create_reset_token(tx, user.id, context=AS_OPERATOR, policies=services.policies)


async def _get(login_id: str, services: Services, tx: Transaction) -> User:
    charset = services.policies.login_ids
    canonical = canonical_login_id(login_id, charset)
    if canonical is None:
        raise click.UsageError(f"LOGIN_ID is not a login id: {charset.rule}")
    user = await UserRepository(tx).get_by_login_id(canonical)
    if user is None:
        raise click.ClickException("There is no such user.")
    return user


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
