"""The judge of the storm has to be able to find something wrong."""

from pathlib import Path

import pytest

from harness.http_client import _answer_of
from tools.chaos.checker import Found, judge
from tools.chaos.history import Entry, History, Outcome

OK, REFUSED, UNKNOWN = Outcome
CREATED = ("create", "ada", OK)


def verdict_of(tmp_path: Path, told: list[tuple[str, str, Outcome]], found: Found) -> tuple[int, int]:
    """Count what is lost and what is half-written, when clients were told this and this was found."""
    with History(tmp_path / "journal") as history:
        for kind, mark, outcome in told:
            history.write(Entry(kind, "ada", mark, outcome, "", 0.1, "calm"))
        verdict = judge(history, found)
    return len(verdict.lost), len(verdict.half_written)


def found(
    name: str | None, *, times: int = 1, sessions: tuple[str, ...] = (), created: int = 1, **events: int
) -> Found:
    """What stands in the database of the account ada."""
    there = Found()
    if name is not None:
        there.users["ada"] = [("id", name)] * times
    there.sessions["id"] = set(sessions)
    if created:
        there.events["id", "user.created"] = created
    for action, count in events.items():
        there.events["id", action.replace("_", ".")] = count
    return there


RENAMED = [CREATED, ("rename", "b", OK)]
MAYBE_RENAMED = [CREATED, ("rename", "b", UNKNOWN)]
DELETED = [CREATED, ("delete", "", OK)]
LOGGED_IN = [CREATED, ("log_in", "s1", OK)]
RACED = [("race", "a", OK), ("race", "b", REFUSED)]


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ([CREATED], found("ada")),
        ([("create", "ada", UNKNOWN)], found("ada")),
        ([("create", "ada", UNKNOWN)], found(None, created=0)),
        ([("create", "ada", REFUSED)], found(None, created=0)),
        (RENAMED, found("b", user_updated=1)),
        (MAYBE_RENAMED, found("ada")),
        (MAYBE_RENAMED, found("b", user_updated=1)),
        (DELETED, found(None, user_deleted=1)),
        (LOGGED_IN, found("ada", sessions=("s1",), login_succeeded=1)),
        ([*LOGGED_IN, ("log_out", "s1", OK)], found("ada", login_succeeded=1, session_ended=1)),
        (RACED, found("a")),
    ],
)
def test_judge_what_agrees_finds_nothing(
    tmp_path: Path, told: list[tuple[str, str, Outcome]], there: Found
) -> None:
    assert verdict_of(tmp_path, told, there) == (0, 0)


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ([CREATED], found(None, created=0)),
        ([CREATED], found("ada", times=2)),
        ([("create", "ada", REFUSED)], found("ada")),
        (RENAMED, found("ada", user_updated=1)),
        ([CREATED, ("rename", "b", REFUSED)], found("b")),
        (MAYBE_RENAMED, found("c")),
        (DELETED, found("ada")),
        (LOGGED_IN, found("ada")),
        ([*LOGGED_IN, ("log_out", "s1", OK)], found("ada", sessions=("s1",), login_succeeded=1)),
        ([CREATED, ("impossible", "x", REFUSED)], found("x")),
        ([("race", "a", OK), ("race", "b", OK)], found("a")),
        (RACED, found("b")),
    ],
)
def test_judge_what_was_lost_finds_it(
    tmp_path: Path, told: list[tuple[str, str, Outcome]], there: Found
) -> None:
    assert verdict_of(tmp_path, told, there)[0] > 0


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ([CREATED], found("ada", created=0)),
        ([CREATED], found("ada", created=2)),
        ([("create", "ada", UNKNOWN)], found(None, created=1)),
        (RENAMED, found("b")),
        (DELETED, found(None)),
        (LOGGED_IN, found("ada", sessions=("s1",))),
    ],
)
def test_judge_what_was_written_by_half_finds_it(
    tmp_path: Path, told: list[tuple[str, str, Outcome]], there: Found
) -> None:
    assert verdict_of(tmp_path, told, there)[1] > 0


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"", UNKNOWN),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{", UNKNOWN),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}", OK),
        (b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", OK),
        (b'HTTP/1.1 409 Conflict\r\ncontent-length: 12\r\n\r\n{"code": "x"}'.replace(b"12", b"13"), REFUSED),
        (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 31\r\n\r\n"
            + b'{"code":"database_unavailable"}',
            REFUSED,
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 26\r\n\r\n" + b'{"code":"outcome_unknown"}',
            UNKNOWN,
        ),
        (b'HTTP/1.1 500 Error\r\ncontent-length: 25\r\n\r\n{"code":"internal_error"}', UNKNOWN),
    ],
)
def test_answer_of_what_came_back_tells_what_it_promises(raw: bytes, outcome: Outcome) -> None:
    assert _answer_of(raw, 0.1).outcome is outcome
