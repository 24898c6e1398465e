"""Faults of clients: they vanish, or send a byte at a time."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from harness.database import DatabaseProbe
from harness.http_client import ServiceClient
from service.server import slow_clients, uvicorn_server
from settings.http import HttpSettings
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, RunningService, serving
from tests.support.faults import FaultEnvironment, milliseconds
from tests.support.servers import RunningServer, listening
from tests.support.settings import settings_for_tests

LINE = b"GET /health/live HTTP/1.1\r\nHost: here\r\n"
HEAD = b"Host: here\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
BODY = b"POST /v1/sessions HTTP/1.1\r\n" + HEAD + b'{"login_id":'
SLOW = {
    "nothing": (b"", b""),
    "half a header": (LINE, b""),
    "a byte of header": (LINE + b"X-Slow: ", b"a"),
    "half a body": (BODY, b""),
    "a byte of body": (BODY, b" "),
}
"""What a slow client sends first, and then repeatedly."""
CREATED = "SELECT id FROM users WHERE login_id LIKE 'new%' ORDER BY 1"
EVENTS = "SELECT subject_id FROM events WHERE action = '{}' ORDER BY 1"
OPENED = (
    "SELECT user_id FROM sessions JOIN users ON users.id = user_id WHERE login_id LIKE 'in%'"
    " AND sessions.id NOT IN ({})"
)
HASHES = "SELECT id, password_hash FROM users WHERE login_id LIKE 'out%'"


async def vanish(address: tuple[str, int], request: bytes, rng: random.Random) -> None:
    """Disconnect in the middle of a request, or some loop iterations after it."""
    _, writer = await asyncio.open_connection(*address)
    writer.write(request[: rng.randrange(1, 2 * len(request))])
    for _ in range(rng.randrange(150)):
        await asyncio.sleep(0)
    writer.transport.abort()


async def changed_hashes(
    database: DatabaseProbe, before: list[tuple[object, ...]]
) -> list[tuple[object, ...]]:
    """Return the accounts whose password hash has changed."""
    return sorted((row[0],) for row in set(await database.fetch(HASHES)) - set(before))


async def test_requests_of_vanished_clients_are_complete_or_absent_and_leak_no_connection(
    env: FaultEnvironment,
) -> None:
    api, database, rng, rounds = env.api, env.database, random.Random(18), 25
    owners = [await api.account(f"out{number}") for number in range(rounds)]
    others = [await api.account(f"in{number}") for number in range(rounds)]
    before, root = await database.fetch(HASHES), await api.admin()
    new_password = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    async with listening(env.running) as server:
        client = ServiceClient(server.port, root.token)
        for number in range(rounds):
            log_in = {"login_id": f"in{number}", "password": PASSWORD}
            for request in (
                client.raw_request("POST", "/v1/users", {"login_id": f"new{number}", "name": "N"}),
                client.raw_request("POST", "/v1/sessions", log_in),
                client.raw_request("PUT", "/v1/users/me/password", new_password, token=owners[number].token),
            ):
                await vanish(server.address, request, rng)
        await server.wait_until_idle()
    assert not env.leaks_connections
    first_sessions = ", ".join(f"'{account.session_id}'" for account in others)
    for action, happened in {
        "user.created": await database.fetch(CREATED),
        "login.succeeded": sorted(await database.fetch(OPENED.format(first_sessions))),
        "password.changed": await changed_hashes(database, before),
    }.items():
        assert await database.fetch(EVENTS.format(action)) == happened
        assert 0 < len(happened) < rounds, "the clients vanished all before or all after the commit"


@pytest_asyncio.fixture
async def hasty(shared_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningService]:
    """A service with short timeouts for clients."""
    monkeypatch.setattr(slow_clients, "HEADERS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uvicorn_server, "CHECK_INTERVAL_S", 0.02)
    http = HttpSettings(body_timeout=milliseconds(200))
    async with serving(settings_for_tests(http=http), shared_database) as running:
        yield running


async def dribble(server: RunningServer, beginning: bytes, rest: bytes) -> bytes:
    """Send a beginning, then the rest repeatedly until the server disconnects; return its response."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(beginning)
    response = asyncio.create_task(reader.read())
    while not response.done():
        writer.write(rest)
        await asyncio.wait({response}, timeout=0.02)
    writer.transport.abort()
    return b"" if response.exception() else response.result()


async def test_slow_clients_are_disconnected_and_other_requests_succeed(
    api: Api, hasty: RunningService
) -> None:
    ada = await api.account("ada")
    async with listening(hasty) as server, asyncio.timeout(30):
        slow = [asyncio.create_task(dribble(server, *what)) for what in SLOW.values() for _ in range(5)]
        others = ServiceClient(server.port, ada.token)
        assert [(await others.request("GET", "/v1/users/me")).status for _ in range(5)] == [200] * 5
        responses = await asyncio.gather(*slow)
        await server.wait_until_idle()
    by_kind = {kind: responses[number * 5 : number * 5 + 5] for number, kind in enumerate(SLOW)}
    assert all(response.startswith(b"HTTP/1.1 400 ") for response in by_kind.pop("half a body"))
    by_kind.pop("a byte of body")  # a reset may destroy the response before it is read
    assert {response for of_kind in by_kind.values() for response in of_kind} == {b""}
