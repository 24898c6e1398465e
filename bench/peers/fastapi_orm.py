"""FastAPI with an ORM session in dependencies: token, then user, as in fastapi-users' documentation."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.peers import orm
from bench.peers.serving import POOL_SIZE, serve

engine = create_async_engine(orm.URL, pool_size=POOL_SIZE, max_overflow=0)
make_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI(openapi_url=None)


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    login_id: str
    name: str
    role: str
    state: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


class SessionRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    user_agent: str | None
    ip: str | None


class CurrentRead(BaseModel):
    session: SessionRead
    user: UserRead


async def get_async_session() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Db = Annotated[AsyncSession, Depends(get_async_session)]


async def current_session(
    db: Db, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> orm.Session:
    digest = sha256(credentials.credentials.encode()).digest()
    found = (
        await db.execute(select(orm.Session).where(orm.Session.token_digest == digest))
    ).scalar_one_or_none()
    if found is None or min(found.expires_at, found.idle_expires_at) <= datetime.now(UTC):
        raise HTTPException(401)
    return found


CurrentSession = Annotated[orm.Session, Depends(current_session)]


async def current_user(db: Db, session: CurrentSession) -> orm.User:
    found = (await db.execute(select(orm.User).where(orm.User.id == session.user_id))).scalar_one_or_none()
    if found is None or found.state != "active":
        raise HTTPException(401)
    return found


CurrentUser = Annotated[orm.User, Depends(current_user)]


@app.get("/v1/users/me")
async def me(user: CurrentUser) -> UserRead:
    return UserRead.model_validate(user)


@app.get("/v1/sessions/current")
async def current(session: CurrentSession, user: CurrentUser) -> CurrentRead:
    return CurrentRead(session=SessionRead.model_validate(session), user=UserRead.model_validate(user))


@app.get("/health/ready")
async def ready(db: Db) -> None:
    await db.execute(text("SELECT 1"))


if __name__ == "__main__":
    serve(app)
