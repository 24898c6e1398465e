"""The load: clients that create, use and delete users, and record what was acknowledged."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from time import monotonic
from typing import Any

from tools.rehearsal.client import Client

LOGIN_PREFIX = "rehearsal-"

_CREATE, _LOG_IN, _PATCH = ("POST", "/v1/users"), ("POST", "/v1/sessions"), ("PATCH", "/v1/users/me")


class Failed(Exception):
    """A request did not get the expected response; this user's lifecycle ends."""


@dataclass(slots=True)
class LoadStats:
    """Counts and times of all requests, and the acknowledged state of each user."""

    is_changing: Callable[[], bool]
    during_s: list[float] = field(default_factory=list)
    outside_s: list[float] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    acknowledged: dict[str, str | None] = field(default_factory=dict)
    """User id → the name last acknowledged, or None after a delete."""

    @property
    def requests(self) -> int:
        """The number of requests sent."""
        return len(self.during_s) + len(self.outside_s)

    @property
    def failed(self) -> int:
        """The number of requests with an unexpected response or none."""
        return self.resets + self.unexpected.total()

    async def request(
        self, client: Client, operation: tuple[str, str], expected: int, token: str, body: Any = None
    ) -> Any:
        """Send one request, record it, and return its body.

        Raises:
            Failed: there was no response, or its status was not the expected one.
        """
        started, was_during = monotonic(), self.is_changing()
        try:
            response = await client.request(*operation, token, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.resets += 1
            raise Failed from error
        finally:
            times = self.during_s if was_during or self.is_changing() else self.outside_s
            times.append(monotonic() - started)
        if response.status != expected:
            code = response.body.get("code", "") if isinstance(response.body, dict) else ""
            self.unexpected[f"{operation[0]} {operation[1].partition('?')[0]}: {response.status} {code}"] += 1
            raise Failed
        return response.body


async def run_client(port: int, key: str, stats: LoadStats, stop: asyncio.Event) -> None:
    """Run one user lifecycle after another until `stop` is set."""
    async with Client(port) as client:
        while not stop.is_set():
            try:
                await _user_lifecycle(client, key, stats)
            except Failed:
                # do not spin on refused connections
                await asyncio.sleep(0.05)


async def _user_lifecycle(client: Client, key: str, stats: LoadStats) -> None:
    login_id, passwords = LOGIN_PREFIX + token_hex(8), (_password(), _password())
    new = {"login_id": login_id, "name": "Rehearsal", "password": passwords[0]}
    user_id: str = (await stats.request(client, _CREATE, 201, key, new))["id"]
    stats.acknowledged[user_id] = "Rehearsal"
    token: str = (await stats.request(client, _LOG_IN, 201, "", _credentials(login_id, passwords[0])))[
        "token"
    ]
    await _read(client, key, stats, user_id, token)
    for number in range(3):
        await stats.request(client, _PATCH, 200, token, {"name": f"Rehearsal {number}"})
        stats.acknowledged[user_id] = f"Rehearsal {number}"
        await _read(client, key, stats, user_id, token)
    change = {"current_password": passwords[0], "new_password": passwords[1]}
    await stats.request(client, ("PUT", "/v1/users/me/password"), 204, token, change)
    await stats.request(client, _LOG_IN, 201, "", _credentials(login_id, passwords[1]))
    if random.random() < 0.3:  # noqa: S311 -- varies the load, not a secret
        await _end(client, key, stats, user_id, token)


async def _read(client: Client, key: str, stats: LoadStats, user_id: str, token: str) -> None:
    found = await stats.request(client, ("GET", "/v1/users/me"), 200, token)
    if found["name"] != stats.acknowledged[user_id]:
        stats.unexpected["read another name than was written"] += 1
    await stats.request(client, ("GET", "/v1/sessions/current"), 200, token)
    await stats.request(client, ("GET", "/v1/users?limit=20"), 200, key)


async def _end(client: Client, key: str, stats: LoadStats, user_id: str, token: str) -> None:
    await stats.request(client, ("DELETE", f"/v1/users/{user_id}"), 204, key)
    stats.acknowledged[user_id] = None
    await stats.request(client, ("GET", "/v1/users/me"), 401, token)


async def read_back(port: int, key: str, acknowledged: dict[str, str | None]) -> int:
    """Return the number of users that differ from their acknowledged state."""
    async with Client(port) as client:
        responses = {
            user_id: await client.request("GET", f"/v1/users/{user_id}", key) for user_id in acknowledged
        }
    return sum(
        (responses[user_id].status, (responses[user_id].body or {}).get("name"))
        != ((200, name) if name is not None else (404, None))
        for user_id, name in acknowledged.items()
    )


def _credentials(login_id: str, password: str) -> dict[str, str]:
    return {"login_id": login_id, "password": password}


def _password() -> str:
    return f"otters sing {token_hex(8)}"
