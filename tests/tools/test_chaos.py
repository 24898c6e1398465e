"""The checker of the chaos test finds every kind of violation, and the client every kind of outcome."""

import asyncio
from pathlib import Path

import pytest

from harness.http_client import Outcome, ServiceClient
from harness.mail_server import ReceivedMail, mail_server
from harness.service_process import free_port
from tools.chaos.checker import State, check
from tools.chaos.generator import NO_FAULT
from tools.chaos.history import Entry, History
from tools.chaos.mails import Period, check_mails

OK, REJECTED, UNKNOWN = Outcome
Writes = list[tuple[str, str, Outcome]]
CREATED = ("create", "ada", OK)


def violations(tmp_path: Path, writes: Writes, state: State) -> tuple[int, int]:
    """Return how many writes are lost and how many half-written, given these outcomes and this state."""
    with History(tmp_path / "history") as history:
        for kind, value, outcome in writes:
            history.write(Entry(kind, "ada", value, outcome, "", 0.1, NO_FAULT))
        result = check(history, state)
    return len(result.lost), len(result.half_written)


def state_with(
    name: str | None, *, times: int = 1, sessions: tuple[str, ...] = (), created: int = 1, **events: int
) -> State:
    """Return a state in which the account ada has a name, sessions and events."""
    state = State()
    if name is not None:
        state.users["ada"] = [("id", name)] * times
    state.sessions["id"] = set(sessions)
    if created:
        state.events["id", "user.created"] = created
    for action, count in events.items():
        state.events["id", action.replace("_", ".")] = count
    return state


RENAMED = [CREATED, ("rename", "b", OK)]
PERHAPS_RENAMED = [CREATED, ("rename", "b", UNKNOWN)]
DELETED = [CREATED, ("delete", "", OK)]
LOGGED_IN = [CREATED, ("log_in", "s1", OK)]
RACED = [("race", "a", OK), ("race", "b", REJECTED)]


@pytest.mark.parametrize(
    ("writes", "state"),
    [
        ([CREATED], state_with("ada")),
        ([("create", "ada", UNKNOWN)], state_with("ada")),
        ([("create", "ada", UNKNOWN)], state_with(None, created=0)),
        ([("create", "ada", REJECTED)], state_with(None, created=0)),
        (RENAMED, state_with("b", user_updated=1)),
        (PERHAPS_RENAMED, state_with("ada")),
        (PERHAPS_RENAMED, state_with("b", user_updated=1)),
        (DELETED, state_with(None, user_deleted=1)),
        (LOGGED_IN, state_with("ada", sessions=("s1",), login_succeeded=1)),
        ([*LOGGED_IN, ("log_out", "s1", OK)], state_with("ada", login_succeeded=1, session_ended=1)),
        (RACED, state_with("a")),
    ],
)
def test_check_consistent_state_finds_no_violation(tmp_path: Path, writes: Writes, state: State) -> None:
    assert violations(tmp_path, writes, state) == (0, 0)


@pytest.mark.parametrize(
    ("writes", "state"),
    [
        ([CREATED], state_with(None, created=0)),
        ([CREATED], state_with("ada", times=2)),
        ([("create", "ada", REJECTED)], state_with("ada")),
        (RENAMED, state_with("ada", user_updated=1)),
        ([CREATED, ("rename", "b", REJECTED)], state_with("b")),
        (PERHAPS_RENAMED, state_with("c")),
        (DELETED, state_with("ada")),
        (LOGGED_IN, state_with("ada")),
        ([*LOGGED_IN, ("log_out", "s1", OK)], state_with("ada", sessions=("s1",), login_succeeded=1)),
        ([CREATED, ("invalid", "x", REJECTED)], state_with("x")),
        ([("race", "a", OK), ("race", "b", OK)], state_with("a")),
        (RACED, state_with("b")),
    ],
)
def test_check_lost_write_finds_it(tmp_path: Path, writes: Writes, state: State) -> None:
    assert violations(tmp_path, writes, state)[0] > 0


@pytest.mark.parametrize(
    ("writes", "state"),
    [
        ([CREATED], state_with("ada", created=0)),
        ([CREATED], state_with("ada", created=2)),
        ([("create", "ada", UNKNOWN)], state_with(None, created=1)),
        (RENAMED, state_with("b")),
        (DELETED, state_with(None)),
        (LOGGED_IN, state_with("ada", sessions=("s1",))),
    ],
)
def test_check_half_written_write_finds_it(tmp_path: Path, writes: Writes, state: State) -> None:
    assert violations(tmp_path, writes, state)[1] > 0


def response(status: str, body: bytes, length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {length or len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"", UNKNOWN),
        (response("201 Created", b"{", length=2), UNKNOWN),
        (response("201 Created", b"{}"), OK),
        (b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", OK),
        (response("409 Conflict", b'{"code": "x"}'), REJECTED),
        (response("503 Service Unavailable", b'{"code":"database_unavailable"}'), REJECTED),
        (response("503 Service Unavailable", b'{"code":"outcome_unknown"}'), UNKNOWN),
        (response("500 Error", b'{"code":"internal_error"}'), UNKNOWN),
    ],
)
async def test_request_with_this_response_has_this_outcome(raw: bytes, outcome: Outcome) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        result = await ServiceClient(server.sockets[0].getsockname()[1]).request("GET", "/")
    assert result.outcome is outcome


async def test_request_without_a_listener_is_rejected() -> None:
    result = await ServiceClient(free_port()).request("GET", "/")
    assert (result.outcome, result.status) == (REJECTED, 0)


PERIODS = [Period("smtp slow", 10, 20), Period("worker killed", 30, 31)]


def mail_at(at: float, recipient: str = "ada", content: bytes = b"same") -> ReceivedMail:
    return ReceivedMail(recipient, content, used_tls=False, at=at)


@pytest.mark.parametrize(
    "mails",
    [[mail_at(1)], [mail_at(29), mail_at(32)], [mail_at(30.5), mail_at(90)]],
    ids=["once", "again after a kill", "again when a lease ran out"],
)
def test_check_mails_that_are_as_promised_finds_nothing(mails: list[ReceivedMail]) -> None:
    assert list(check_mails(mails, {"ada"}, PERIODS)) == []


@pytest.mark.parametrize(
    "mails",
    [
        [],
        [mail_at(1), mail_at(2, "nobody")],
        [mail_at(1), mail_at(2)],
        [mail_at(11), mail_at(19)],
        [mail_at(32), mail_at(40)],
        [mail_at(29), mail_at(32, content=b"another")],
    ],
    ids=["lost", "without an account", "twice", "twice while slow", "twice after a kill", "changed"],
)
def test_check_mails_with_one_violation_finds_it(mails: list[ReceivedMail]) -> None:
    assert len(list(check_mails(mails, {"ada"}, PERIODS))) == 1


async def test_connect_to_the_mail_server_parses_none_of_its_mails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the database runs in the same event loop, and would stand still meanwhile."""
    parsed: list[ReceivedMail] = []
    monkeypatch.setattr(ReceivedMail, "message", property(parsed.append))
    async with mail_server() as server:
        server.mails.append(ReceivedMail("ada@example.org", b"", used_tls=False, at=0.0))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.readline()).startswith(b"220 ")
        writer.close()
        await writer.wait_closed()
    assert parsed == []
