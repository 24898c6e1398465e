"""Faults of those who call: they vanish, or take their time."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from harness.http_client import Client
from service.server import slow_clients, uvicorn_server
from settings.http import HttpSettings
from tests.faults.conftest import Place, Seen, Stage, milliseconds, placed
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, Running, serving
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
"""How a client begins, and what it sends then, again and again."""
CREATED = "SELECT id FROM users WHERE login_id LIKE 'new%' ORDER BY 1"
TOLD = "SELECT subject_id FROM events WHERE action = '{}' ORDER BY 1"
OPENED = (
    "SELECT user_id FROM sessions JOIN users ON users.id = user_id WHERE login_id LIKE 'in%'"
    " AND sessions.id NOT IN ({})"
)
HASHES = "SELECT id, password_hash FROM users WHERE login_id LIKE 'out%'"


async def vanish(address: tuple[str, int], message: bytes, rng: random.Random) -> None:
    """Hang up in the middle of a request, or some moments after it."""
    _, writer = await asyncio.open_connection(*address)
    writer.write(message[: rng.randrange(1, 2 * len(message))])
    for _ in range(rng.randrange(150)):
        await asyncio.sleep(0)
    writer.transport.abort()


async def changed(seen: Seen, before: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Give the accounts whose password is another than before."""
    return sorted((row[0],) for row in set(await seen.fetch(HASHES)) - set(before))


async def test_clients_that_vanish_anywhere_leave_all_or_nothing_and_no_connection_behind(
    patient_stage: Stage,
) -> None:
    api, seen, rng, rounds = patient_stage.api, patient_stage.seen, random.Random(18), 25
    owners = [await api.account(f"out{number}") for number in range(rounds)]
    visitors = [await api.account(f"in{number}") for number in range(rounds)]
    before, root = await seen.fetch(HASHES), await api.admin()
    new_password = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    async with placed(patient_stage.running) as place:
        for number in range(rounds):
            client = Client(place.address[1], root.token)
            for message in (
                client.message("POST", "/v1/users", {"login_id": f"new{number}", "name": "N"}),
                client.message("POST", "/v1/sessions", {"login_id": f"in{number}", "password": PASSWORD}),
                client.message("PUT", "/v1/users/me/password", new_password, token=owners[number].token),
            ):
                await vanish(place.address, message, rng)
        await place.at_rest()
    assert not patient_stage.misses_connections
    first_sessions = ", ".join(f"'{visitor.session_id}'" for visitor in visitors)
    for action, happened in {
        "user.created": await seen.fetch(CREATED),
        "login.succeeded": sorted(await seen.fetch(OPENED.format(first_sessions))),
        "password.changed": await changed(seen, before),
    }.items():
        assert await seen.fetch(TOLD.format(action)) == happened
        assert 0 < len(happened) < rounds, "neither all nor none of them got that far"


@pytest_asyncio.fixture
async def hasty(shared_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """An application that gives its clients a fraction of the time."""
    monkeypatch.setattr(slow_clients, "HEADERS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uvicorn_server, "CHECK_INTERVAL_S", 0.02)
    http = HttpSettings(body_timeout=milliseconds(200))
    async with serving(settings_for_tests(http=http), shared_database) as running:
        yield running


async def dribble(place: Place, beginning: bytes, rest: bytes) -> bytes:
    """Send a beginning, then the rest again and again for as long as the server listens; give its answer."""
    reader, writer = await asyncio.open_connection(*place.address)
    writer.write(beginning)
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(rest)
        await asyncio.wait({answer}, timeout=0.02)
    writer.transport.abort()
    return b"" if answer.exception() else answer.result()


async def test_clients_that_take_their_time_are_sent_away_and_keep_nobody_waiting(
    api: Api, hasty: Running
) -> None:
    ada = await api.account("ada")
    async with placed(hasty) as place, asyncio.timeout(30):
        slow = [asyncio.create_task(dribble(place, *what)) for what in SLOW.values() for _ in range(5)]
        others = Client(place.address[1], ada.token)
        assert [(await others.request("GET", "/v1/users/me")).status for _ in range(5)] == [200] * 5
        answers = await asyncio.gather(*slow)
        await place.at_rest()
    told = {kind: answers[number * 5 : number * 5 + 5] for number, kind in enumerate(SLOW)}
    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in told.pop("half a body"))
    told.pop("a byte of body")  # the answer, if it is not lost with the bytes that cross it
    assert {answer for of_kind in told.values() for answer in of_kind} == {b""}
