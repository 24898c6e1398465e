"""Create the first administrator."""

import secrets
from functools import partial

import click

from service.db.repositories.users import UserRepository
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.users import UserRole
from service.services import Services, run_with_services
from service.usecases.users import Registration, create_user, prepare_user
from settings import Settings

_LOGIN_ID = "root"
_NOTICE = """
  This is the first run, so there is an administrator now. This is shown once:
    login id  {login_id}
    password  {password}
"""


def ensure_first_admin(settings: Settings, dsn: str) -> None:
    """If there is no user, create an administrator and print how to log in, once."""
    password = secrets.token_urlsafe(16)
    if run_with_services(settings, dsn, partial(_create_first_admin, password=password)):
        click.echo(_NOTICE.format(login_id=_LOGIN_ID, password=password), err=True)


async def _create_first_admin(services: Services, *, password: str) -> bool:
    """Create it; the password has to be changed where others could use what the log shows."""
    async with services.database.transaction(caller=OPERATOR) as tx:
        if not await UserRepository(tx).is_empty():
            return False
    context = AuditContext(OPERATOR)
    registration = Registration(
        _LOGIN_ID,
        "Administrator",
        password=password,
        role=UserRole.ADMIN,
        must_change=not services.settings.http.is_loopback,
    )
    new = await prepare_user(
        registration, hasher=services.hasher, context=context, policies=services.policies
    )
    async with services.database.transaction(caller=OPERATOR) as tx:
        await create_user(tx, new, context=context)
    return True
