"""Clients that write all the time, each to accounts of its own, and record what they are told."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from harness.http_client import Outcome, Result, ServiceClient
from tools.chaos.history import Entry, History

NO_FAULT: Final = "no fault"
PASSWORD: Final = "chaos canary password"
CLIENTS: Final = 16
_MAX_PAUSE_S: Final = 0.08
_PAUSE_AFTER_FAILURE_S: Final = 0.1
_MAX_ACCOUNTS: Final = 20
_MAX_REPEATS: Final = 200


def invitation(name: str) -> dict[str, object]:
    """Return the body that creates an account with a mail to it."""
    return {"login_id": name, "name": name, "email": f"{name}@example.org", "invite": True}


@dataclass
class Account:
    """An account of a client."""

    login_id: str
    id: str = ""
    name: str = ""
    sessions: dict[str, str] = field(default_factory=dict)
    """Tokens by session id."""


class Workload:
    """All clients, with counts of what their requests came to."""

    def __init__(self, port: int, key: str, history: History, seed: int) -> None:
        self.port = port
        self.key = key
        self.fault = NO_FAULT
        self.counts: Counter[tuple[str, Outcome]] = Counter()
        """Requests by fault and outcome."""
        self.longest_s: defaultdict[str, float] = defaultdict(float)
        self.wrong_reads = 0
        self._history = history
        self._seed = seed
        self._acknowledged = asyncio.Condition()
        self._last_started_at = 0.0
        """The start of the latest request that was acknowledged."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> int:
        """The number of requests that were acknowledged."""
        return sum(count for (_, outcome), count in self.counts.items() if outcome is Outcome.OK)

    def start(self) -> None:
        """Start the clients."""
        self._tasks = [
            asyncio.create_task(_Client(self, number, random.Random(f"{self._seed}/{number}")).run())  # noqa: S311
            for number in range(CLIENTS)
        ]

    async def stop(self) -> None:
        """Have every client finish its request, then end.

        Raises: what a client has raised.
        """
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def wait_for_write_started_after(self, moment: float) -> float:
        """Wait until a write that started after a moment is acknowledged; return the time of that."""
        async with self._acknowledged:
            await self._acknowledged.wait_for(lambda: self._last_started_at >= moment)
        return monotonic()

    def raise_if_ended(self) -> None:
        """Raise what a client has raised."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def record(self, kind: str, login_id: str, value: str, fault: str, result: Result) -> None:
        """Count a write, and add it to the history."""
        self.count(fault, result)
        await self._history.add(
            Entry(kind, login_id, value, result.outcome, result.summary, round(result.seconds, 3), fault)
        )
        if result.outcome is Outcome.OK:
            self._last_started_at = max(self._last_started_at, monotonic() - result.seconds)
            async with self._acknowledged:
                self._acknowledged.notify_all()

    def count(self, fault: str, result: Result) -> None:
        """Count a request."""
        self.counts[fault, result.outcome] += 1
        self.longest_s[fault] = max(self.longest_s[fault], result.seconds)


class _Client:
    """A client with one request at a time. It abandons an account whose state it does not know."""

    def __init__(self, workload: Workload, number: int, rng: random.Random) -> None:
        self._workload = workload
        self._rng = rng
        self._name = f"c{number}"
        address = f"10.0.{number // 250}.{number % 250 + 1}"
        self._http = ServiceClient(workload.port, workload.key, address)
        self._names = 0
        self._accounts: list[Account] = []

    async def run(self) -> None:
        """Work until cancelled; a request in flight is finished and recorded first."""
        steps: list[tuple[int, Callable[[], Awaitable[bool]]]] = [
            (8, self._create),
            (2, self._invite),
            (10, self._rename),
            (4, self._log_in),
            (3, self._log_out),
            (2, self._delete),
            (2, self._send_invalid),
            (3, self._read),
        ]
        weights, choices = zip(*steps, strict=True)
        while True:
            [step] = self._rng.choices(choices, weights)
            work = asyncio.ensure_future(step())
            try:
                succeeded = await asyncio.shield(work)
            except asyncio.CancelledError:
                await work
                raise
            pause_s = self._rng.uniform(0, _MAX_PAUSE_S)
            await asyncio.sleep(pause_s if succeeded else pause_s + _PAUSE_AFTER_FAILURE_S)

    async def _create(self) -> bool:
        if len(self._accounts) >= _MAX_ACCOUNTS:
            return await self._rename()
        name = self._new_name()
        account = Account(login_id=name, name=name)
        result = await self._send_creation(account)
        if result.outcome is Outcome.UNKNOWN and self._rng.random() < 0.5:
            result = await self._repeat_creation(account)
        if result.outcome is Outcome.OK:
            account.id = result.body["id"]
            self._accounts.append(account)
        return result.outcome is Outcome.OK

    async def _repeat_creation(self, account: Account) -> Result:
        """Repeat a creation with its idempotency key until the outcome is known."""
        for _ in range(_MAX_REPEATS):
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
            result = await self._send_creation(account)
            if result.outcome is Outcome.OK:
                break
        return result

    async def _send_creation(self, account: Account) -> Result:
        fault = self._workload.fault
        body = {"login_id": account.login_id, "name": account.name, "password": PASSWORD}
        result = await self._http.request("POST", "/v1/users", body, idempotency_key=account.login_id)
        return await self._record("create", account, account.name, fault, result)

    async def _invite(self) -> bool:
        """Create an account that gets a mail; nothing else is done with it."""
        name, fault = self._new_name(), self._workload.fault
        result = await self._http.request("POST", "/v1/users", invitation(name))
        await self._workload.record("create", name, name, fault, result)
        return result.outcome is Outcome.OK

    async def _rename(self) -> bool:
        if (account := self._any_account()) is None:
            return True
        name, fault = self._new_name(), self._workload.fault
        result = await self._http.request("PATCH", f"/v1/users/{account.id}", {"name": name})
        await self._record("rename", account, name, fault, result)
        if result.outcome is Outcome.OK:
            account.name = name
        return result.outcome is Outcome.OK

    async def _delete(self) -> bool:
        if (account := self._any_account()) is None:
            return True
        fault = self._workload.fault
        result = await self._http.request("DELETE", f"/v1/users/{account.id}")
        await self._record("delete", account, "", fault, result)
        if result.outcome is Outcome.OK:
            self._accounts.remove(account)
        return result.outcome is Outcome.OK

    async def _log_in(self) -> bool:
        if (account := self._any_account()) is None:
            return True
        fault = self._workload.fault
        body = {"login_id": account.login_id, "password": PASSWORD}
        result = await self._http.request("POST", "/v1/sessions", body)
        session_id = result.body["session"]["id"] if result.outcome is Outcome.OK else ""
        await self._record("log_in", account, session_id, fault, result)
        if session_id:
            account.sessions[session_id] = result.body["token"]
        return result.outcome is Outcome.OK

    async def _log_out(self) -> bool:
        account = self._any_account()
        if account is None or not account.sessions:
            return True
        session_id, token = account.sessions.popitem()
        fault = self._workload.fault
        result = await self._http.request("DELETE", "/v1/sessions/current", token=token)
        await self._record("log_out", account, session_id, fault, result)
        if result.outcome is Outcome.REJECTED:
            account.sessions[session_id] = token
        return result.outcome is Outcome.OK

    async def _send_invalid(self) -> bool:
        """Send a creation that must be rejected: with a name that is not allowed, or a login id in use."""
        account = self._any_account()
        if account is None:
            return True
        name = self._new_name()
        body = invitation(name) | {"login_id": account.login_id}
        if self._rng.random() < 0.5:
            body["login_id"], body["name"] = name, f"{name}\0"
        fault = self._workload.fault
        result = await self._http.request("POST", "/v1/users", body)
        await self._workload.record("invalid", str(body["login_id"]), str(body["name"]), fault, result)
        return result.outcome is not Outcome.UNKNOWN

    async def _read(self) -> bool:
        """Read an account, which must be as its last write left it."""
        if (account := self._any_account()) is None:
            return True
        fault = self._workload.fault
        result = await self._http.request("GET", f"/v1/users/{account.id}")
        self._workload.count(fault, result)
        if result.status == 404 or (result.status == 200 and result.body["name"] != account.name):
            self._workload.wrong_reads += 1
        return result.outcome is Outcome.OK

    async def _record(self, kind: str, account: Account, value: str, fault: str, result: Result) -> Result:
        if result.outcome is Outcome.UNKNOWN and account in self._accounts:
            self._accounts.remove(account)  # the write may still happen, at any time
        await self._workload.record(kind, account.login_id, value, fault, result)
        return result

    def _any_account(self) -> Account | None:
        return self._rng.choice(self._accounts) if self._accounts else None

    def _new_name(self) -> str:
        self._names += 1
        return f"{self._name}-{self._names}"
