"""Litestar with advanced-alchemy's repositories and plugin, as in their documentation."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from advanced_alchemy.extensions.litestar import AsyncSessionConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, Request, get
from litestar.exceptions import NotAuthorizedException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bench.peers import orm
from bench.peers.serving import POOL_SIZE, serve
from bench.peers.views import CurrentSessionView, SessionView, UserView


class Users(SQLAlchemyAsyncRepository[orm.User]):  # type: ignore[type-var]
    model_type = orm.User


class Sessions(SQLAlchemyAsyncRepository[orm.Session]):  # type: ignore[type-var]
    model_type = orm.Session


async def authenticate(
    request: Request[Any, Any, Any], db_session: AsyncSession
) -> tuple[orm.Session, orm.User]:
    digest = sha256(request.headers["authorization"][7:].encode()).digest()
    session = await Sessions(session=db_session).get_one_or_none(token_digest=digest)
    if session is None or min(session.expires_at, session.idle_expires_at) <= datetime.now(UTC):
        raise NotAuthorizedException
    user = await Users(session=db_session).get_one_or_none(id=session.user_id)
    if user is None or user.state != "active":
        raise NotAuthorizedException
    return session, user


@get("/v1/users/me")
async def me(request: Request[Any, Any, Any], db_session: AsyncSession) -> UserView:
    _, user = await authenticate(request, db_session)
    return msgspec.convert(user, UserView, from_attributes=True)


@get("/v1/sessions/current")
async def current(request: Request[Any, Any, Any], db_session: AsyncSession) -> CurrentSessionView:
    session, user = await authenticate(request, db_session)
    return CurrentSessionView(
        msgspec.convert(session, SessionView, from_attributes=True),
        msgspec.convert(user, UserView, from_attributes=True),
    )


@get("/health/ready")
async def ready(db_session: AsyncSession) -> None:
    await db_session.execute(text("SELECT 1"))


plugin = SQLAlchemyPlugin(
    config=SQLAlchemyAsyncConfig(
        engine_instance=create_async_engine(orm.URL, pool_size=POOL_SIZE, max_overflow=0),
        session_config=AsyncSessionConfig(expire_on_commit=False),
    )
)
app = Litestar([me, current, ready], plugins=[plugin], openapi_config=None, logging_config=None)

if __name__ == "__main__":
    serve(app)
