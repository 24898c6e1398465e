"""The load: clients that live the whole life of accounts, and remember what they were promised."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from time import monotonic
from typing import Any

from service.cli.rehearse.client import Client

LOGIN_PREFIX = "rehearsal-"

_CREATE, _LOG_IN, _PATCH = ("POST", "/v1/users"), ("POST", "/v1/sessions"), ("PATCH", "/v1/users/me")


class Failed(Exception):
    """A request did not get the answer it should have; this account's life ends here."""


@dataclass(slots=True)
class Tally:
    """What was asked, how long it took, and what failed."""

    is_changing: Callable[[], bool]
    during_s: list[float] = field(default_factory=list)
    outside_s: list[float] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    promised: dict[str, str | None] = field(default_factory=dict)
    """Account id → the name it was last given, or None when it was deleted."""

    @property
    def requests(self) -> int:
        """How many were sent."""
        return len(self.during_s) + len(self.outside_s)

    @property
    def failed(self) -> int:
        """How many got another answer than they should have, or none."""
        return self.resets + self.unexpected.total()

    async def ask(
        self, client: Client, operation: tuple[str, str], expected: int, token: str, body: Any = None
    ) -> Any:
        """Send one request and count it; return its body.

        Raises:
            Failed: it got no answer, or another status than the expected one.
        """
        started, was_changing = monotonic(), self.is_changing()
        try:
            answer = await client.ask(*operation, token, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.resets += 1
            raise Failed from error
        finally:
            times = self.during_s if was_changing or self.is_changing() else self.outside_s
            times.append(monotonic() - started)
        if answer.status != expected:
            code = answer.body.get("code", "") if isinstance(answer.body, dict) else ""
            self.unexpected[f"{operation[0]} {operation[1].partition('?')[0]}: {answer.status} {code}"] += 1
            raise Failed
        return answer.body


async def live(port: int, key: str, tally: Tally, stop: asyncio.Event) -> None:
    """Live one account's life after another until told to stop."""
    async with Client(port) as client:
        while not stop.is_set():
            try:
                await _one_life(client, key, tally)
            except Failed:
                # A refused connection must not become a busy loop.
                await asyncio.sleep(0.05)


async def _one_life(client: Client, key: str, tally: Tally) -> None:
    login_id, passwords = LOGIN_PREFIX + token_hex(8), (_password(), _password())
    new = {"login_id": login_id, "name": "Rehearsal", "password": passwords[0]}
    account: str = (await tally.ask(client, _CREATE, 201, key, new))["id"]
    tally.promised[account] = "Rehearsal"
    token: str = (await tally.ask(client, _LOG_IN, 201, "", _credentials(login_id, passwords[0])))["token"]
    await _read(client, key, tally, account, token)
    for number in range(3):
        await tally.ask(client, _PATCH, 200, token, {"name": f"Rehearsal {number}"})
        tally.promised[account] = f"Rehearsal {number}"
        await _read(client, key, tally, account, token)
    change = {"current_password": passwords[0], "new_password": passwords[1]}
    await tally.ask(client, ("PUT", "/v1/users/me/password"), 204, token, change)
    await tally.ask(client, _LOG_IN, 201, "", _credentials(login_id, passwords[1]))
    if random.random() < 0.3:  # noqa: S311 -- varies the load, keeps no secret
        await _end(client, key, tally, account, token)


async def _read(client: Client, key: str, tally: Tally, account: str, token: str) -> None:
    found = await tally.ask(client, ("GET", "/v1/users/me"), 200, token)
    if found["name"] != tally.promised[account]:
        tally.unexpected["read another name than was written"] += 1
    await tally.ask(client, ("GET", "/v1/sessions/current"), 200, token)
    await tally.ask(client, ("GET", "/v1/users?limit=20"), 200, key)


async def _end(client: Client, key: str, tally: Tally, account: str, token: str) -> None:
    await tally.ask(client, ("DELETE", f"/v1/users/{account}"), 204, key)
    tally.promised[account] = None
    await tally.ask(client, ("GET", "/v1/users/me"), 401, token)


async def read_back(port: int, key: str, promised: dict[str, str | None]) -> int:
    """Return how many accounts are not as it was promised."""
    async with Client(port) as client:
        answers = {account: await client.ask("GET", f"/v1/users/{account}", key) for account in promised}
    return sum(
        (answers[account].status, (answers[account].body or {}).get("name"))
        != ((200, name) if name is not None else (404, None))
        for account, name in promised.items()
    )


def _credentials(login_id: str, password: str) -> dict[str, str]:
    return {"login_id": login_id, "password": password}


def _password() -> str:
    return f"otters sing {token_hex(8)}"
