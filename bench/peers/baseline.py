"""The baseline: bare Litestar routes on a raw asyncpg pool, one prepared statement, no reset, no checks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Litestar, Request, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException
from litestar.params import Body

from bench.peers.serving import DSN, POOL_SIZE, serve
from bench.peers.views import CurrentSessionView, SessionView, UserView

READ = """
    SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.idle_expires_at, s.user_agent, s.ip,
           u.login_id, u.name, u.role, u.state, u.created_at, u.updated_at, u.last_login_at
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.token_digest = $1 AND s.expires_at > now() AND s.idle_expires_at > now() AND u.state = 'active'
"""


class Token(msgspec.Struct):
    active: bool
    sub: UUID
    username: str
    iat: int
    exp: int
    token_type: str
    scope: str


async def authenticate(token: str) -> Any:
    row = await app.state.pool.fetchrow(READ, sha256(token.encode()).digest())
    if row is None:
        raise NotAuthorizedException
    return row


def user_of(row: Any) -> UserView:
    return UserView(row[1], row[8], row[9], row[10], row[11], row[12], row[13], row[14])


@get("/v1/users/me")
async def me(request: Request[Any, Any, Any]) -> UserView:
    return user_of(await authenticate(request.headers["authorization"][7:]))


@get("/v1/sessions/current")
async def current(request: Request[Any, Any, Any]) -> CurrentSessionView:
    row = await authenticate(request.headers["authorization"][7:])
    return CurrentSessionView(SessionView(*row[:8]), user_of(row))


@post("/v1/introspect", status_code=200)
async def introspect(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Token:
    row = await authenticate(data["token"])
    ends_at = min(row[4], row[5])
    return Token(True, row[1], row[8], int(row[2].timestamp()), int(ends_at.timestamp()), "Bearer", row[10])


@get("/health/ready")
async def ready() -> None:
    await app.state.pool.fetchval("SELECT 1")


async def skip_reset(_connection: Any) -> None:
    """Do not reset the connection: that costs a round trip."""


@asynccontextmanager
async def with_pool(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(DSN, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=skip_reset) as pool:
        app.state.pool = pool
        yield


app = Litestar(
    [me, current, introspect, ready], lifespan=[with_pool], openapi_config=None, logging_config=None
)

if __name__ == "__main__":
    serve(app)
