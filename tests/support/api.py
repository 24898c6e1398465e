"""The application under test, and a client of its API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, cast
from uuid import UUID

import httpx
import pytest_asyncio

from service.app import Application, create_app
from service.db.repositories.keys import ApiKeyRepository, NewApiKey
from service.db.repositories.sessions import NewSession, SessionRepository
from service.db.repositories.users import NewUser, UserRepository
from service.domain.callers import OPERATOR
from service.domain.keys import Scope
from service.domain.users import UserRole, UserState
from service.security.ids import new_id
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, new_token
from service.services import Services
from settings import Settings
from tests.support.contract import Contract, contract_of

PASSWORD = "mauve otter sings at dawn"
OTHER_PASSWORD = "crimson kettle drums loudly"


@dataclass(frozen=True)
class RunningService:
    """A running application in this process."""

    app: Application
    service: Services
    contract: Contract

    def client(self, *, ip: str = "127.0.0.1", **options: Any) -> httpx.AsyncClient:
        """Return a client with an address."""
        app = cast(Any, self.app)  # httpx and Litestar spell ASGI's types differently
        transport = httpx.ASGITransport(app=app, client=(ip, 50000), raise_app_exceptions=False)
        hooks = {"response": [self.contract.check]}
        return httpx.AsyncClient(
            transport=transport, base_url="http://rollcall.test", event_hooks=hooks, **options
        )


@asynccontextmanager
async def serving(settings: Settings, dsn: str) -> AsyncIterator[RunningService]:
    """Run the application. Its lifespan has its own task, because the halves of a fixture run in two."""
    app = create_app(settings, dsn=dsn)
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            await task
        yield RunningService(app, app.services, contract_of(app.operations))
    finally:
        stop.set()
        await task


def running_with(settings: Settings) -> Any:
    """Return a fixture for one module, named by its assignment: the application with other settings."""

    @pytest_asyncio.fixture(scope="module")
    async def running(shared_database: str) -> AsyncIterator[RunningService]:
        async with serving(settings, shared_database) as running:
            yield running

    return running


@dataclass(frozen=True)
class Account:
    """An account with a session."""

    id: UUID
    login_id: str
    token: str
    session_id: UUID

    @property
    def headers(self) -> dict[str, str]:
        """The header that authenticates a request."""
        return {"Authorization": f"Bearer {self.token}"}


class Api:
    """A client with a token, if it has one. It creates accounts and keys directly in the database."""

    def __init__(self, client: httpx.AsyncClient, service: Services, token: str | None = None) -> None:
        self.client = client
        self.service = service
        self.token = token

    def by(self, account: Account | str | None) -> Self:
        """Return a client with the token of an account, or with this token."""
        return type(self)(
            self.client, self.service, account.token if isinstance(account, Account) else account
        )

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request."""
        headers = dict(options.pop("headers", None) or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        """POST."""
        return await self.request("POST", path, json=json, **options)

    async def patch(self, path: str, json: Any, **options: Any) -> httpx.Response:
        """PATCH."""
        return await self.request("PATCH", path, json=json, **options)

    async def put(self, path: str, json: Any, **options: Any) -> httpx.Response:
        """PUT."""
        return await self.request("PUT", path, json=json, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        """DELETE."""
        return await self.request("DELETE", path, **options)

    async def log_in(self, login_id: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        """Log in."""
        return await self.post("/v1/sessions", {"login_id": login_id, "password": password, **more})

    async def account(
        self,
        login_id: str = "ada",
        *,
        name: str = "Ada",
        password: str | None = PASSWORD,
        role: UserRole = UserRole.USER,
        state: UserState = UserState.ACTIVE,
        must_change: bool = False,
    ) -> Account:
        """Create an account with a valid session."""
        service, token, session_id = self.service, new_token(SESSION_PREFIX), new_id()
        password_hash = await self.hash(password) if password else None
        new = NewUser(new_id(), login_id, name, password_hash, role, state, must_change)
        async with service.database.transaction(caller=OPERATOR) as tx:
            user = await UserRepository(tx).add(new)
            lifetime = service.policies.sessions.lifetime_of(role)
            await SessionRepository(tx).add(
                NewSession(session_id, user.id, token.digest, lifetime, None, None)
            )
        return Account(user.id, login_id, token.value, session_id)

    async def hash(self, password: str) -> str:
        """Return a hash of a password."""
        async with self.service.hasher.acquire("tests") as permit:
            return await permit.hash(password)

    async def admin(self, login_id: str = "root") -> Account:
        """Make an administrator with a live session."""
        return await self.account(login_id, name="Root", role=UserRole.ADMIN)

    async def key(self, *scopes: Scope) -> str:
        """Create an API key."""
        token = new_token(API_KEY_PREFIX)
        async with self.service.database.transaction(caller=OPERATOR) as tx:
            await ApiKeyRepository(tx).add(
                NewApiKey(new_id(), "test", scopes, token.value[:8], token.digest, None),
                default_ttl=None,
            )
        return token.value


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of an error."""
    return response.status_code, response.json()["code"]


def faults_of(response: httpx.Response) -> list[tuple[str, str]]:
    """Return pointer and code of each field error of a failed validation."""
    assert error_of(response) == (422, "validation_failed")
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]
