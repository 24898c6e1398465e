"""Clients that write all the time, each to accounts of its own, and note what they were told."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from harness.http_client import Answer, Client
from tools.chaos.history import Entry, History, Outcome

PASSWORD = "storm canary password"
CLIENTS = 16
_LONGEST_PAUSE_S = 0.08
_PAUSE_AFTER_NO_S = 0.1
_MOST_ACCOUNTS = 20
_TRIES_TO_LEARN = 200


@dataclass
class Account:
    """An account of a client."""

    login_id: str
    id: str = ""
    name: str = ""
    sessions: dict[str, str] = field(default_factory=dict)
    """Tokens of sessions by their id."""


class Load:
    """The clients together, and what their requests came to."""

    def __init__(self, port: int, key: str, history: History, seed: int) -> None:
        self.port = port
        self.key = key
        self.fault = "calm"
        self.counts: Counter[tuple[str, str]] = Counter()
        """Requests by fault and outcome."""
        self.longest_s: defaultdict[str, float] = defaultdict(float)
        self.wrong_reads = 0
        self._journal = history
        self._seed = seed
        self._last_ok = asyncio.Condition()
        self._last_ok_began_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged."""
        return sum(count for (_, outcome), count in self.counts.items() if outcome == Outcome.OK)

    def start(self) -> None:
        """Let the clients begin."""
        self._tasks = [
            asyncio.create_task(StormClient(self, number, random.Random(f"{self._seed}/{number}")).run())  # noqa: S311
            for number in range(CLIENTS)
        ]

    async def stop(self) -> None:
        """Let every client finish what it is doing."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def until_a_write_begun_after(self, moment: float) -> float:
        """Wait for the acknowledgement of a write that was begun after a moment; give when it came."""
        async with self._last_ok:
            await self._last_ok.wait_for(lambda: self._last_ok_began_at >= moment)
        return monotonic()

    def raise_if_ended(self) -> None:
        """Fail when a client has failed."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def print_status(self, kind: str, subject: str, mark: str, fault: str, answer: Answer) -> None:
        """Write down what a client was told."""
        self.see(fault, answer)
        await self._journal.add(
            Entry(kind, subject, mark, answer.outcome, answer.word, round(answer.seconds, 3), fault)
        )
        if answer.outcome is Outcome.OK:
            self._last_ok_began_at = max(self._last_ok_began_at, monotonic() - answer.seconds)
            async with self._last_ok:
                self._last_ok.notify_all()

    def see(self, fault: str, answer: Answer) -> None:
        """Count a request."""
        self.counts[fault, answer.outcome] += 1
        self.longest_s[fault] = max(self.longest_s[fault], answer.seconds)


class StormClient:
    """One client. It asks one thing at a time, and leaves an account whose state it does not know."""

    def __init__(self, load: Load, number: int, rng: random.Random) -> None:
        self._load = load
        self._rng = rng
        self._name = f"c{number}"
        self._client = Client(load.port, load.key, f"10.0.{number // 250}.{number % 250 + 1}")
        self._count = 0
        self._accounts: list[Account] = []

    async def run(self) -> None:
        """Write until cancelled; what is under way is finished and noted first."""
        steps: list[tuple[int, Callable[[], Awaitable[bool]]]] = [
            (8, self._create),
            (10, self._rename),
            (4, self._log_in),
            (3, self._log_out),
            (2, self._delete),
            (2, self._ask_for_the_impossible),
            (3, self._read),
        ]
        weights, choices = zip(*steps, strict=True)
        while True:
            [step] = self._rng.choices(choices, weights)
            work = asyncio.ensure_future(step())
            try:
                went_well = await asyncio.shield(work)
            except asyncio.CancelledError:
                await work
                raise
            pause_s = self._rng.uniform(0, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s if went_well else pause_s + _PAUSE_AFTER_NO_S)

    async def _create(self) -> bool:
        if len(self._accounts) >= _MOST_ACCOUNTS:
            return await self._rename()
        account = Account(self._new_mark())
        account.name = account.login_id
        body = {"login_id": account.login_id, "name": account.name, "password": PASSWORD}
        answer = await self._write(
            "create", account, account.name, "POST", "/v1/users", body, account.login_id
        )
        if answer.outcome is Outcome.UNKNOWN and self._rng.random() < 0.5:
            answer = await self._learn(account, body)
        if answer.outcome is Outcome.OK:
            account.id = answer.body["id"]
            self._accounts.append(account)
        return answer.outcome is Outcome.OK

    async def _learn(self, account: Account, body: dict[str, str]) -> Answer:
        """Ask again with the same idempotency key until the answer is certain."""
        for _ in range(_TRIES_TO_LEARN):
            await asyncio.sleep(_PAUSE_AFTER_NO_S)
            answer = await self._write(
                "create", account, account.name, "POST", "/v1/users", body, account.login_id
            )
            if answer.outcome is Outcome.OK:
                break
        return answer

    async def _rename(self) -> bool:
        if (account := self._any()) is None:
            return True
        name = self._new_mark()
        answer = await self._write(
            "rename", account, name, "PATCH", f"/v1/users/{account.id}", {"name": name}
        )
        if answer.outcome is Outcome.OK:
            account.name = name
        return answer.outcome is Outcome.OK

    async def _delete(self) -> bool:
        if (account := self._any()) is None:
            return True
        answer = await self._write("delete", account, "", "DELETE", f"/v1/users/{account.id}")
        if answer.outcome is Outcome.OK:
            self._accounts.remove(account)
        return answer.outcome is Outcome.OK

    async def _log_in(self) -> bool:
        if (account := self._any()) is None:
            return True
        fault = self._load.fault
        body = {"login_id": account.login_id, "password": PASSWORD}
        answer = await self._client.request("POST", "/v1/sessions", body)
        session_id = answer.body["session"]["id"] if answer.outcome is Outcome.OK else ""
        await self._note("log_in", account, session_id, fault, answer)
        if session_id:
            account.sessions[session_id] = answer.body["token"]
        return answer.outcome is Outcome.OK

    async def _log_out(self) -> bool:
        account = self._any()
        if account is None or not account.sessions:
            return True
        session_id, token = account.sessions.popitem()
        fault = self._load.fault
        answer = await self._client.request("DELETE", "/v1/sessions/current", token=token)
        await self._note("log_out", account, session_id, fault, answer)
        if answer.outcome is Outcome.REFUSED:
            account.sessions[session_id] = token
        return answer.outcome is Outcome.OK

    async def _ask_for_the_impossible(self) -> bool:
        """Ask for what is refused: a name that is taken, or one that cannot be."""
        account = self._any()
        if account is None:
            return True
        if self._rng.random() < 0.5:
            account = Account(self._new_mark())
            body = {"login_id": account.login_id, "name": f"{account.login_id}\0"}
        else:
            body = {"login_id": account.login_id, "name": self._new_mark()}
        fault = self._load.fault
        answer = await self._client.request("POST", "/v1/users", body)
        await self._load.print_status("impossible", account.login_id, body["name"], fault, answer)
        return answer.outcome is not Outcome.UNKNOWN

    async def _read(self) -> bool:
        """Read an account, which has to be as its last write left it."""
        if (account := self._any()) is None:
            return True
        fault = self._load.fault
        answer = await self._client.request("GET", f"/v1/users/{account.id}")
        self._load.see(fault, answer)
        if answer.status == 404 or (answer.status == 200 and answer.body["name"] != account.name):
            self._load.wrong_reads += 1
        return answer.outcome is Outcome.OK

    async def _write(
        self,
        kind: str,
        account: Account,
        mark: str,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
    ) -> Answer:
        fault = self._load.fault
        answer = await self._client.request(method, path, body, key=key)
        await self._note(kind, account, mark, fault, answer)
        return answer

    async def _note(self, kind: str, account: Account, mark: str, fault: str, answer: Answer) -> None:
        if answer.outcome is Outcome.UNKNOWN and account in self._accounts:
            self._accounts.remove(account)  # the write may still happen, at any time
        await self._load.print_status(kind, account.login_id, mark, fault, answer)

    def _any(self) -> Account | None:
        return self._rng.choice(self._accounts) if self._accounts else None

    def _new_mark(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"
