"""The limit: bare Litestar routes on a raw asyncpg pool, one prepared statement, no reset, no checks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
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

READ = """
    SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.idle_expires_at, s.user_agent, s.ip,
           u.login_id, u.name, u.role, u.state, u.created_at, u.updated_at, u.last_login_at
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.token_digest = $1 AND s.expires_at > now() AND s.idle_expires_at > now() AND u.state = 'active'
"""


class User(msgspec.Struct):
    id: UUID
    login_id: str
    name: str
    role: str
    state: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


class Session(msgspec.Struct):
    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    user_agent: str | None
    ip: str | None
    current: bool


class Current(msgspec.Struct):
    session: Session
    user: User


class Token(msgspec.Struct):
    active: bool
    sub: UUID
    username: str
    iat: int
    exp: int
    token_type: str
    scope: str


async def find(token: str) -> Any:
    row = await app.state.pool.fetchrow(READ, sha256(token.encode()).digest())
    if row is None:
        raise NotAuthorizedException
    return row


def user_of(row: Any) -> User:
    return User(row[1], row[8], row[9], row[10], row[11], row[12], row[13], row[14])


@get("/v1/users/me")
async def me(request: Request[Any, Any, Any]) -> User:
    return user_of(await find(request.headers["authorization"][7:]))


@get("/v1/sessions/current")
async def current(request: Request[Any, Any, Any]) -> Current:
    row = await find(request.headers["authorization"][7:])
    return Current(Session(*row[:8], True), user_of(row))


@post("/v1/introspect", status_code=200)
async def introspect(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Token:
    row = await find(data["token"])
    ends_at = min(row[4], row[5])
    return Token(True, row[1], row[8], int(row[2].timestamp()), int(ends_at.timestamp()), "Bearer", row[10])


@get("/health/ready")
async def ready() -> None:
    await app.state.pool.fetchval("SELECT 1")


async def keep(_connection: Any) -> None:
    """Leave a connection as it is: the reset costs a round trip."""


@asynccontextmanager
async def with_pool(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(DSN, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=keep) as pool:
        app.state.pool = pool
        yield


app = Litestar(
    [me, current, introspect, ready], lifespan=[with_pool], openapi_config=None, logging_config=None
)

if __name__ == "__main__":
    serve(app)
