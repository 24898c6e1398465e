"""What the tests of sessions share."""

from uuid import UUID

from service.services import Services
from tests.support.api import Account, Api
from tests.support.databases import execute

_AGE = " - CAST(CAST(:span AS text) AS interval)"


async def age_last_use(service: Services, session_id: UUID, span: str) -> None:
    """Make the last use of a session older."""
    await execute(
        service.engine,
        f"UPDATE sessions SET last_used_at = last_used_at {_AGE}, idle_expires_at = idle_expires_at {_AGE}"
        " WHERE id = :id",
        span=span,
        id=session_id,
    )


async def age_session(service: Services, session_id: UUID, span: str) -> None:
    """Make a session older, but not its last use."""
    await execute(
        service.engine,
        f"UPDATE sessions SET created_at = created_at {_AGE}, expires_at = expires_at {_AGE} WHERE id = :id",
        span=span,
        id=session_id,
    )


async def status(api: Api, account: Account | str) -> int:
    return (await api.by(account).get("/v1/users/me")).status_code
