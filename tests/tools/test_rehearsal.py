"""The rehearsal counts failures, so its verdict means something."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.db.migrations.compatibility import THIS_RELEASE
from settings import get_settings
from tests.migrations.rows import execute
from tools.rehearsal.client import Client
from tools.rehearsal.command import rehearse
from tools.rehearsal.environment import checksum, fill
from tools.rehearsal.load import Failed, LoadStats, read_back

NEXT = Path(__file__).parents[1] / "migrations" / "next"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + b'{"name": "Kept"}'
BROKEN = b'HTTP/1.1 500 Oh\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{"code": "no"}'
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def fake_server(response: bytes) -> AsyncIterator[int]:
    """Serve the same response to every request; hang up if it is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while response and await reader.readuntil(b"\r\n\r\n"):
                writer.write(response)
        writer.close()
        await writer.wait_closed()
        ended.release()

    ended = asyncio.Semaphore(0)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await ended.acquire()


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("response", "unexpected", "resets"),
    [(BROKEN, {"GET /v1/users/me: 500 no": 1}, 0), (GONE, {"GET /v1/users/me: 404 ": 1}, 0), (b"", {}, 1)],
    ids=["500", "404", "reset"],
)
async def test_request_with_an_unexpected_response_counts_a_failure(
    response: bytes, unexpected: dict[str, int], resets: int
) -> None:
    stats = LoadStats(never)
    async with fake_server(response) as port, Client(port) as client:
        with pytest.raises(Failed):
            await stats.request(client, ("GET", "/v1/users/me"), 200, "token")
    assert (stats.unexpected, stats.resets, stats.requests, stats.failed) == (unexpected, resets, 1, 1)


async def test_request_with_the_expected_response_counts_no_failure() -> None:
    stats = LoadStats(never)
    async with fake_server(OK) as port, Client(port) as client:
        for _ in range(2):
            assert await stats.request(client, ("GET", "/v1/users/me"), 200, "token") == {"name": "Kept"}
    assert (stats.requests, stats.failed) == (2, 0)


async def test_request_during_a_change_is_recorded_separately() -> None:
    changing: Callable[[], bool] = iter([False, True]).__next__
    stats = LoadStats(changing)
    async with fake_server(OK) as port, Client(port) as client:
        await stats.request(client, ("GET", "/"), 200, "token")
    assert (len(stats.during_s), len(stats.outside_s)) == (1, 0)


@pytest.mark.parametrize(
    ("response", "acknowledged", "lost"),
    [(OK, "Kept", 0), (OK, "Other", 1), (OK, None, 1), (GONE, None, 0), (GONE, "x", 1)],
)
async def test_read_back_counts_users_that_differ(
    response: bytes, acknowledged: str | None, lost: int
) -> None:
    async with fake_server(response) as port:
        assert await read_back(port, "key", {"id": acknowledged}) == lost


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM users WHERE login_id = 'filled-7'",
        "UPDATE users SET updated_at = now() WHERE login_id = 'filled-7'",
        "DELETE FROM sessions WHERE user_id = (SELECT id FROM users WHERE login_id = 'filled-10')",
    ],
)
async def test_checksum_shows_a_lost_or_changed_row(database: str, loss: str) -> None:
    await fill(database, 20)
    before = await checksum(database)
    assert await checksum(database) == before
    await execute(database, loss)
    assert await checksum(database) != before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rehearse_of_this_release_is_clean(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    get_settings.cache_clear()
    options = ["--rows", "100", "--cycles", "1", "--requests", "200", "--more-versions", str(NEXT)]
    done = CliRunner().invoke(rehearse, options)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "verdict    clean"), done.output


def test_rehearse_without_a_step_that_this_release_serves_is_an_error(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    get_settings.cache_clear()
    done = CliRunner().invoke(rehearse, [])
    assert (done.exit_code, THIS_RELEASE.needs) == (1, THIS_RELEASE.head)
    assert "it can serve no step down" in done.stderr
