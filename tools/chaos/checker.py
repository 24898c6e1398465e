"""What clients were told against what is in the database."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tools.chaos.history import Entry, History, Outcome

_NOBODY = "clients vanishing"
"""Under this fault accounts are made by clients that do not wait to be told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, with the fault under which it was given."""

    fault: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found."""

    lost: list[Finding]
    """Acknowledged writes that are not there exactly once, and refused ones that are."""
    half_written: list[Finding]
    """Writes of which only a part is there."""


@dataclass(slots=True)
class Found:
    """What stands in the database."""

    users: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Id and name by login id."""
    sessions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of sessions by account id."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often an action was noted of an account id."""


async def look(engine: AsyncEngine) -> Found:
    """Read everything that a storm may have written."""
    found = Found()
    async with engine.connect() as connection:

        async def rows(statement: str) -> Iterable[Any]:
            return await connection.execute(text(statement))

        for login_id, user_id, name in await rows("SELECT login_id, id::text, name FROM users"):
            found.users[login_id].append((user_id, name))
        for user_id, session_id in await rows("SELECT user_id::text, id::text FROM sessions"):
            found.sessions[user_id].add(session_id)
        for user_id, action, count in await rows(
            "SELECT subject_id::text, action, count(*) FROM events GROUP BY 1, 2"
        ):
            found.events[user_id, action] = count
    return found


def judge(history: History, found: Found) -> Verdict:
    """Compare what was told with what is there."""
    lost: list[Finding] = []
    half: list[Finding] = []
    by_subject = history.by_subject()
    for subject, entries in by_subject.items():
        judge_subject = _judge_race if entries[0].kind == "race" else _judge_account
        lost += judge_subject(entries, found.users.get(subject, []))
        for user_id, _ in found.users.get(subject, []):
            lost += _lost_sessions(entries, found.sessions.get(user_id, set()))
    half += _half_written(by_subject, found)
    names = {name for rows in found.users.values() for _, name in rows}
    refused = (entry for entry in history.entries() if entry.kind == "impossible")
    lost += [Finding(entry.fault, f"{entry} is there") for entry in refused if entry.mark in names]
    return Verdict(lost, half)


def _judge_account(entries: list[Entry], rows: list[tuple[str, str]]) -> Iterator[Finding]:
    """Follow the states in which an account may be; None stands for its absence."""
    possible: set[str | None] = {None}
    last = entries[0]
    for entry in entries:
        if entry.kind not in {"create", "rename", "delete"} or entry.outcome is Outcome.REFUSED:
            continue
        last, state = entry, entry.mark or None
        possible = {state} if entry.outcome is Outcome.OK else possible | {state}
    if len(rows) > 1:
        yield Finding(last.fault, f"{last.subject} is there {len(rows)} times")
    actual = rows[0][1] if rows else None
    if actual not in possible:
        yield Finding(last.fault, f"{last.subject} is {actual}, not {possible}")


def _judge_race(entries: list[Entry], rows: list[tuple[str, str]]) -> Iterator[Finding]:
    """Of those who wanted the same login id at the same time, one at most may have it."""
    told = [entry.mark for entry in entries if entry.outcome is Outcome.OK]
    perhaps = [entry.mark for entry in entries if entry.outcome is Outcome.UNKNOWN]
    actual = [name for _, name in rows]
    if len(told) > 1 or len(actual) > 1 or (told and actual != told) or not set(actual) <= {*told, *perhaps}:
        yield Finding(entries[0].fault, f"{entries[0].subject} was given to {told}, is {actual}")


def _lost_sessions(entries: list[Entry], sessions: set[str]) -> Iterator[Finding]:
    opened = {e.mark: e for e in entries if e.kind == "log_in" and e.outcome is Outcome.OK}
    ended = {e.mark: e for e in entries if e.kind == "log_out" and e.outcome is not Outcome.REFUSED}
    for session_id in opened.keys() - ended.keys() - sessions:
        yield Finding(opened[session_id].fault, f"session {session_id} of {entries[0].subject} is gone")
    for session_id in sessions & {mark for mark, e in ended.items() if e.outcome is Outcome.OK}:
        yield Finding(ended[session_id].fault, f"session {session_id} of {entries[0].subject} did not end")


def _half_written(by_subject: dict[str, list[Entry]], found: Found) -> Iterator[Finding]:
    """Hold accounts and sessions against the audit trail, which is written together with them."""
    living = {user_id: login_id for login_id, rows in found.users.items() for user_id, _ in rows}
    for user_id, login_id in living.items():
        entries = by_subject.get(login_id, [])
        if not _agrees(user_id, entries, found):
            yield Finding(entries[-1].fault if entries else _NOBODY, f"{login_id} and its events disagree")
    for (user_id, action), count in found.events.items():
        is_orphan = action == "user.created" and user_id not in living
        if is_orphan and (count != 1 or found.events[user_id, "user.deleted"] != 1):
            yield Finding(_NOBODY, f"{user_id} was created, is not there and was not deleted")


def _agrees(user_id: str, entries: list[Entry], found: Found) -> bool:
    renames = [entry for entry in entries if entry.kind == "rename"]
    sure = sum(entry.outcome is Outcome.OK for entry in renames)
    perhaps = sum(entry.outcome is Outcome.UNKNOWN for entry in renames)
    opened = found.events[user_id, "login.succeeded"] - found.events[user_id, "session.ended"]
    return (
        found.events[user_id, "user.created"] == 1
        and found.events[user_id, "user.deleted"] == 0
        and sure <= found.events[user_id, "user.updated"] <= sure + perhaps
        and opened == len(found.sessions.get(user_id, set()))
    )
