"""The check of the history of the clients against the state of the database."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.database import DatabaseProbe
from harness.http_client import Outcome
from tools.chaos.history import Entry, History

_VANISHED: Final = "clients vanishing"
"""During this fault clients create accounts without waiting for the response: no entry names them."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, and the fault during which it was given."""

    fault: str
    description: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All violations that were found."""

    lost: list[Violation]
    """Acknowledged writes that are not there exactly once, and rejected ones that are."""
    half_written: list[Violation]
    """Writes of which only a part is there."""


@dataclass(slots=True)
class State:
    """The content of the database."""

    users: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Id and name, by login id."""
    sessions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of sessions, by user id."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of events, by user id and action."""


async def read_state(database: DatabaseProbe) -> State:
    """Read everything that the chaos test may have written."""
    state = State()
    for login_id, user_id, name in await database.fetch("SELECT login_id, id::text, name FROM users"):
        state.users[login_id].append((user_id, name))
    for user_id, session_id in await database.fetch("SELECT user_id::text, id::text FROM sessions"):
        state.sessions[user_id].add(session_id)
    for user_id, action, count in await database.fetch(
        "SELECT subject_id::text, action, count(*) FROM events GROUP BY 1, 2"
    ):
        state.events[user_id, action] = count
    return state


def check(history: History, state: State) -> CheckResult:
    """Compare what clients were told with what is there."""
    lost: list[Violation] = []
    by_login_id = history.by_login_id()
    for login_id, entries in by_login_id.items():
        check_user = _check_race if entries[0].kind == "race" else _check_user
        lost += check_user(entries, state.users.get(login_id, []))
        for user_id, _ in state.users.get(login_id, []):
            lost += _lost_sessions(entries, state.sessions.get(user_id, set()))
    names = {name for rows in state.users.values() for _, name in rows}
    invalid = (entry for entry in history.entries() if entry.kind == "invalid")
    lost += [Violation(entry.fault, f"{entry} was written") for entry in invalid if entry.value in names]
    return CheckResult(lost, list(_half_written(by_login_id, state)))


def _check_user(entries: list[Entry], rows: list[tuple[str, str]]) -> Iterator[Violation]:
    """Follow the names that an account may have; None stands for its absence."""
    possible: set[str | None] = {None}
    last = entries[0]
    for entry in entries:
        if entry.kind not in {"create", "rename", "delete"} or entry.outcome is Outcome.REJECTED:
            continue
        last, name = entry, entry.value or None
        possible = {name} if entry.outcome is Outcome.OK else possible | {name}
    if len(rows) > 1:
        yield Violation(last.fault, f"{last.login_id} is there {len(rows)} times")
    actual = rows[0][1] if rows else None
    if actual not in possible:
        yield Violation(last.fault, f"{last.login_id} has the name {actual}, not one of {possible}")


def _check_race(entries: list[Entry], rows: list[tuple[str, str]]) -> Iterator[Violation]:
    """Of concurrent creations with one login id, at most one may succeed."""
    acknowledged = [entry.value for entry in entries if entry.outcome is Outcome.OK]
    unknown = [entry.value for entry in entries if entry.outcome is Outcome.UNKNOWN]
    actual = [name for _, name in rows]
    is_consistent = (
        max(len(acknowledged), len(actual)) <= 1
        and (not acknowledged or actual == acknowledged)
        and set(actual) <= {*acknowledged, *unknown}
    )
    if not is_consistent:
        login_id = entries[0].login_id
        yield Violation(
            entries[0].fault, f"{login_id} was acknowledged to {acknowledged}, belongs to {actual}"
        )


def _lost_sessions(entries: list[Entry], sessions: set[str]) -> Iterator[Violation]:
    opened = {e.value: e for e in entries if e.kind == "log_in" and e.outcome is Outcome.OK}
    ended = {e.value: e for e in entries if e.kind == "log_out" and e.outcome is not Outcome.REJECTED}
    for session_id in opened.keys() - ended.keys() - sessions:
        yield Violation(opened[session_id].fault, f"session {session_id} of {entries[0].login_id} is gone")
    for session_id in sessions & {value for value, e in ended.items() if e.outcome is Outcome.OK}:
        yield Violation(ended[session_id].fault, f"session {session_id} of {entries[0].login_id} did not end")


def _half_written(by_login_id: dict[str, list[Entry]], state: State) -> Iterator[Violation]:
    """Compare accounts and sessions with the audit events that are written in the same transaction."""
    living = {user_id: login_id for login_id, rows in state.users.items() for user_id, _ in rows}
    for user_id, login_id in living.items():
        entries = by_login_id.get(login_id, [])
        if not _matches_events(user_id, entries, state):
            fault = entries[-1].fault if entries else _VANISHED
            yield Violation(fault, f"{login_id} and its events disagree")
    for (user_id, action), count in state.events.items():
        is_orphan = action == "user.created" and user_id not in living
        if is_orphan and (count != 1 or state.events[user_id, "user.deleted"] != 1):
            yield Violation(_VANISHED, f"{user_id} was created, is not there and was not deleted")


def _matches_events(user_id: str, entries: list[Entry], state: State) -> bool:
    renames = [entry for entry in entries if entry.kind == "rename"]
    acknowledged = sum(entry.outcome is Outcome.OK for entry in renames)
    unknown = sum(entry.outcome is Outcome.UNKNOWN for entry in renames)
    opened = state.events[user_id, "login.succeeded"] - state.events[user_id, "session.ended"]
    return (
        state.events[user_id, "user.created"] == 1
        and state.events[user_id, "user.deleted"] == 0
        and acknowledged <= state.events[user_id, "user.updated"] <= acknowledged + unknown
        and opened == len(state.sessions.get(user_id, set()))
    )
