"""A request that was admitted before a revocation does nothing after it.

The client decides how long the body takes, and hashing, locks and the pool may make a request wait later on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.domain.callers import Caller
from service.domain.keys import Scope
from service.domain.users import UserRole
from service.services import Services
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, RunningService, error_of
from tests.support.databases import execute, fingerprint
from tests.support.servers import RunningServer, listening

THIRD_PASSWORD = "an entirely different phrase"
NEW = {"login_id": "eve", "name": "Eve"}
SET = {"new_password": THIRD_PASSWORD}
OWN = {"current_password": PASSWORD, "new_password": THIRD_PASSWORD}

Step = tuple[str, str, str, Any]
"""Operation, method, path and body; `{victim}` is another user."""

BY_ADMIN: tuple[Step, ...] = (
    ("create_user", "POST", "/v1/users", {**NEW, "password": THIRD_PASSWORD, "role": "admin"}),
    ("update_user", "PATCH", "/v1/users/{victim}", {"role": "admin"}),
    ("update_user", "PATCH", "/v1/users/me", {"role": "admin"}),
    ("change_password", "PUT", "/v1/users/{victim}/password", SET),
    ("change_password", "PUT", "/v1/users/me/password", OWN),
    ("create_key", "POST", "/v1/keys", {"name": "back door", "scopes": ["users:write"]}),
)
BY_KEY: tuple[Step, ...] = (
    ("create_user", "POST", "/v1/users", {**NEW, "password": THIRD_PASSWORD}),
    ("update_user", "PATCH", "/v1/users/{victim}", {"name": "Changed"}),
    ("change_password", "PUT", "/v1/users/{victim}/password", SET),
    ("introspect", "POST", "/v1/introspect", {"token": "{token}"}),
    ("revoke", "POST", "/v1/revoke", {"token": "{token}"}),
)
CLIENTS = {"introspect", "revoke"}
"""Operations that answer services with OAuth's own code."""
WITHOUT_BODY: tuple[Step, ...] = (
    ("delete_user", "DELETE", "/v1/users/{victim}", None),
    ("create_reset_token", "POST", "/v1/users/{victim}/reset-tokens", None),
    ("end_sessions", "DELETE", "/v1/users/{victim}/sessions", None),
    ("end_session", "DELETE", "/v1/sessions/{session}", None),
    ("revoke_key", "DELETE", "/v1/keys/{key}", None),
    ("remove_factors", "DELETE", "/v1/users/{victim}/factors", None),
    ("enroll_totp", "POST", "/v1/users/me/totp", None),
    ("create_passkey_options", "POST", "/v1/users/me/passkeys/options", None),
)
UNKNOWN = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
BY_SESSION: tuple[Step, ...] = (
    ("issue_token", "POST", "/v1/tokens", {"audience": "AUDIENCE"}),
    ("confirm_totp", "POST", "/v1/users/me/totp/confirm", {"code": "123456"}),
    ("step_up", "POST", "/v1/sessions/current/step-up", {"totp": "123456"}),
    ("add_passkey", "POST", "/v1/users/me/passkeys", {"challenge_id": UNKNOWN, "passkey": {}}),
    ("update_passkey", "PATCH", f"/v1/users/me/passkeys/{UNKNOWN}", {"name": "Mine"}),
)
HAVE_NO_CALLER = {"log_in", "redeem_reset_token", "request_recovery", "send_login_code", "verify_email"}


@dataclass
class Scene:
    """Mallory, who is about to lose what she may do, and those that she would do it to."""

    api: Api
    root: Account
    victim: Account
    mallory: Account
    key: str
    key_id: str

    def filled(self, text: str) -> str:
        return (
            text.replace("{victim}", str(self.victim.id))
            .replace("{session}", str(self.victim.session_id))
            .replace("{key}", self.key_id)
            .replace("{token}", self.victim.token)
        )

    @property
    def ways(self) -> dict[str, Callable[[], Awaitable[httpx.Response]]]:
        """The ways to take the rights of a session away."""
        root, path = self.api.by(self.root), f"/v1/users/{self.mallory.id}"
        return {
            "log out": lambda: self.api.by(self.mallory).delete("/v1/sessions/current"),
            "end session": lambda: root.delete(f"/v1/sessions/{self.mallory.session_id}"),
            "disable": lambda: root.patch(path, {"state": "disabled"}),
            "delete": lambda: root.delete(path),
            "demote": lambda: root.patch(path, {"role": "user"}),
            "set password": lambda: root.put(f"{path}/password", {"new_password": OTHER_PASSWORD}),
            "change password": self.change_password,
        }

    async def change_password(self) -> httpx.Response:
        """Let the owner, who has noticed the theft, change the password in another session."""
        token = (await self.api.log_in("mallory")).json()["token"]
        body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        return await self.api.by(token).put("/v1/users/me/password", body)

    async def revoke_key(self) -> httpx.Response:
        return await self.api.by(self.root).delete(f"/v1/keys/{self.key_id}")


async def scene_of(api: Api) -> Scene:
    await execute(api.service.engine, "DELETE FROM users")
    await execute(api.service.engine, "DELETE FROM api_keys")
    root, victim = await api.admin(), await api.account("victim")
    mallory = await api.account("mallory", role=UserRole.ADMIN)
    body = {"name": "key", "scopes": [scope.value for scope in Scope]}
    made = (await api.by(root).post("/v1/keys", body)).json()
    return Scene(api, root, victim, mallory, made["key"], made["api_key"]["id"])


WAYS = ("log out", "end session", "disable", "delete", "demote", "set password", "change password")


@pytest_asyncio.fixture(scope="module")
async def server(running: RunningService) -> AsyncIterator[RunningServer]:
    async with listening(running) as server:
        yield server


async def hold_last_byte(
    server: RunningServer, token: str, step: Step, scene: Scene, revoke: Callable[[], Awaitable[Any]]
) -> tuple[int, str]:
    """Send a request but for its last byte, run the revocation, send the byte; return status and code."""
    _, method, path, body = step
    content = scene.filled(json.dumps(body)).encode()
    head = (
        f"{method} {scene.filled(path)} HTTP/1.1\r\nHost: rollcall.test\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(head.encode() + content[:-1])
    invited = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert invited.startswith(b"HTTP/1.1 100 "), "it was rejected before its body was read"
    await revoke()
    writer.write(content[-1:])
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await server.wait_until_idle()
    header, _, payload = answer.partition(b"\r\n\r\n")
    return int(header[9:12]), json.loads(payload).get("code", "") if payload else ""


async def revoked(api: Api, revoke: Callable[[], Awaitable[httpx.Response]]) -> list[tuple[object, ...]]:
    """Revoke; return the fingerprint of what is there afterwards."""
    assert (await revoke()).is_success
    return await fingerprint(api.service.engine)


def test_tables_cover_every_operation_with_a_body(running: RunningService) -> None:
    with_body = {operation.id for operation in running.app.operations if operation.body is not None}
    assert {step[0] for step in (*BY_ADMIN, *BY_SESSION, *BY_KEY)} | HAVE_NO_CALLER == with_body


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [*BY_ADMIN, *BY_SESSION], ids=lambda step: f"{step[1]} {step[2]}")
async def test_session_revoked_while_the_body_is_held_gets_401_and_changes_nothing(
    api: Api, server: RunningServer, step: Step, way: str
) -> None:
    """Source: OWASP ASVS 5.0 7.4.1, 7.4.2, 8.3.2."""
    scene = await scene_of(api)
    after: list[object] = []

    async def revoke() -> None:
        after.append(await revoked(api, scene.ways[way]))

    answer = await hold_last_byte(server, scene.mallory.token, step, scene, revoke)

    assert answer == (401, "invalid_token")
    assert after == [await fingerprint(api.service.engine)]


@pytest.mark.parametrize("step", BY_KEY, ids=lambda step: step[0])
async def test_key_revoked_while_the_body_is_held_gets_401_and_changes_nothing(
    api: Api, server: RunningServer, step: Step
) -> None:
    scene = await scene_of(api)
    after: list[object] = []

    async def revoke() -> None:
        after.append(await revoked(api, scene.revoke_key))

    answer = await hold_last_byte(server, scene.key, step, scene, revoke)

    assert answer == (401, "invalid_client" if step[0] in CLIENTS else "invalid_token")
    assert after == [await fingerprint(api.service.engine)]


async def test_body_held_without_a_revocation_is_served(api: Api, server: RunningServer) -> None:
    for step in BY_ADMIN:
        scene = await scene_of(api)
        status, _ = await hold_last_byte(server, scene.mallory.token, step, scene, lambda: asyncio.sleep(0))
        assert (step[0], status) in {(step[0], 200), (step[0], 201), (step[0], 204)}


class Hold:
    """Holds the first transaction of a request, and none after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, service: Services) -> None:
        self.held, self.released = asyncio.Event(), asyncio.Event()
        original = Database.transaction

        @asynccontextmanager
        async def transaction(database: Database, *, caller: Caller) -> AsyncIterator[Transaction]:
            if database is service.database and not self.held.is_set():
                self.held.set()
                await self.released.wait()
            async with original(database, caller=caller) as tx:
                yield tx

        monkeypatch.setattr(Database, "transaction", transaction)


async def hold_first_transaction(
    monkeypatch: pytest.MonkeyPatch,
    client: Api,
    step: Step,
    scene: Scene,
    revoke: Callable[[], Awaitable[httpx.Response]],
) -> None:
    """Revoke after the request is authenticated, before its first transaction; expect it to do nothing."""
    _, method, path, body = step
    hold = Hold(monkeypatch, client.service)
    json_body = json.loads(scene.filled(json.dumps(body)))
    options = {} if body is None else {"json": json_body}
    request = asyncio.create_task(client.request(method, scene.filled(path), **options))
    await asyncio.wait_for(hold.held.wait(), 30)
    after = await revoked(scene.api, revoke)
    hold.released.set()
    assert error_of(await request) == (401, "invalid_client" if step[0] in CLIENTS else "invalid_token")
    assert await fingerprint(scene.api.service.engine) == after


@pytest.mark.parametrize(
    ("step", "way"),
    [
        *((step, "disable") for step in (*BY_ADMIN, *WITHOUT_BODY)),
        *((BY_ADMIN[0], way) for way in WAYS if way != "disable"),
    ],
    ids=lambda part: part if isinstance(part, str) else f"{part[1]} {part[2]}",
)
async def test_session_revoked_before_the_transaction_gets_401_and_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, step: Step, way: str
) -> None:
    scene = await scene_of(api)
    await hold_first_transaction(monkeypatch, api.by(scene.mallory), step, scene, scene.ways[way])


@pytest.mark.parametrize(
    "step",
    [step for step in (*BY_KEY, *WITHOUT_BODY[:3]) if step[0] != "introspect"],
    ids=lambda step: step[0],
)
async def test_key_revoked_before_the_transaction_gets_401_and_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    scene = await scene_of(api)
    await hold_first_transaction(monkeypatch, api.by(scene.key), step, scene, scene.revoke_key)


async def test_session_expired_before_the_transaction_gets_401(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await scene_of(api)

    async def expire() -> httpx.Response:
        ended = "UPDATE sessions SET idle_expires_at = now() WHERE id = :id"
        await execute(api.service.engine, ended, id=scene.mallory.session_id)
        return httpx.Response(200)

    await hold_first_transaction(monkeypatch, api.by(scene.mallory), BY_ADMIN[0], scene, expire)
