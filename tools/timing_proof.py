"""Proving that how long a refused log-in takes does not tell whether there is an account.

Source: OWASP ASVS 5.0 6.3.8; CVE-2024-39329, CVE-2016-2513.
"""

import asyncio
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, cast

import click
import msgspec
from litestar import Litestar

from service.app import create_app
from service.cli.console import print_result, print_status
from service.db.migrations.running import upgrade
from service.db.migrations.scratch import scratch_database
from service.db.repositories.users import NewUser
from service.domain.ids import new_id
from service.domain.users import Role, State
from service.observability.logging import configure_logs
from service.security.hashing.hasher import PasswordHasher
from service.services import Services, configured_database
from settings import Settings, get_settings
from settings.log import LogSettings

RIGHT, WRONG = "mauve otter sings at dawn", "crimson kettle drums loudly"
REFERENCE: Final = "wrong password"
USES: Final = 4
"""How often one account is tried: fewer than the throttle lets through at once."""
LOAD: Final = 2
HASHING_BUSY: Final = 503
"""Tells nothing but that the machine is busy: tried again."""
ALLOWED_MS, ALLOWED_SHARE = 5.0, 0.05
UNLIKELY: Final = 0.001


@click.command("prove-timing")
@click.option("--samples", default=300, show_default=True, type=click.IntRange(20), help="Of each kind.")
def prove_timing(samples: int) -> None:
    """Compare how long refused log-ins take, one kind of refusal with another, idle and under load.

    On a scratch database beside the configured one, with the configured hashing. Exit status 1 when a kind
    differs from a wrong password by more than 5 ms and 5 %, in the median or the 95th percentile, and more
    than chance explains. Processor time counts too: it shows the work on a machine that is busy otherwise.
    """
    settings = get_settings()
    configure_logs(settings.model_copy(update={"log": LogSettings(level="error")}))
    with configured_database(settings) as dsn:
        told = asyncio.run(_prove(settings, dsn, samples))
    if told:
        raise click.ClickException(f"These can be told from a wrong password: {', '.join(told)}.")
    print_result("No kind of refusal can be told from a wrong password by its time.")


async def _prove(settings: Settings, dsn: str, samples: int) -> list[str]:
    async with scratch_database(dsn) as scratch:
        await upgrade(scratch)
        app = create_app(settings, dsn=scratch)
        async with app.lifespan():
            stage = await _prepare(app, samples)
            print_status(
                f"{samples} refusals of each of {len(stage.names)} kinds, twice; this takes minutes."
            )
            idle_ms, work_ms = await _measure(stage, samples)
            told = [f"{kind} (idle)" for kind in report("idle", idle_ms)]
            told += [f"{kind} (work)" for kind in report("processor time", work_ms)]
            async with _load(stage):
                loaded_ms, _ = await _measure(stage, samples)
            return told + [f"{kind} (under load)" for kind in report("under load", loaded_ms)]


@dataclass
class _Stage:
    """The application and the login ids to try, by kind of refusal."""

    app: Litestar
    names: Mapping[str, tuple[list[str], str]]
    turns: Iterator[int] = field(default_factory=count)
    tried: Counter[str] = field(default_factory=Counter)

    async def refuse(self, kind: str) -> tuple[float, float]:
        """Log in in vain; give the milliseconds it took, and those that processors worked meanwhile."""
        login_ids, password = self.names[kind]
        login_id = login_ids[self.tried[kind] // USES]
        self.tried[kind] += 1
        while True:
            started_at, worked_s = time.perf_counter(), time.process_time()
            status = await self.log_in(login_id, password)
            spent_s, worked_s = time.perf_counter() - started_at, time.process_time() - worked_s
            if status == 401:
                return spent_s * 1000, worked_s * 1000
            if status != HASHING_BUSY:
                raise click.ClickException(f"A log-in was answered {status} where 401 was due.")

    async def log_in(self, login_id: str, password: str) -> int:
        """Send a log-in from a network of its own, past all sockets; give the status."""
        turn = next(self.turns)
        body = msgspec.json.encode({"login_id": login_id, "password": password})
        scope = _scope_of(f"10.{turn >> 16 & 255}.{turn >> 8 & 255}.{turn & 255}", len(body))
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await cast(Any, self.app)(scope, receive, send)
        return statuses[0]


async def _prepare(app: Litestar, samples: int) -> _Stage:
    """Make accounts enough that no limit of the throttle is reached, in both rounds."""
    service: Services = app.state["services"]
    accounts = range(-(-2 * samples // USES))
    ours = await service.hasher.hash(RIGHT)
    older = await _older_hash(service.settings)
    rows = {
        REFERENCE: (ours, State.ACTIVE),
        "disabled": (ours, State.DISABLED),
        "no password": (None, State.ACTIVE),
        "older hash": (older, State.ACTIVE),
    }
    names = {kind: [f"{kind.replace(' ', '-')}-{place}" for place in accounts] for kind in rows}
    async with service.uow() as tx:
        for kind, (password_hash, state) in rows.items():
            for login_id in names[kind]:
                await tx.users.add(NewUser(new_id(), login_id, "Timing", password_hash, Role.USER, state))
    passwords = {kind: RIGHT if kind == "disabled" else WRONG for kind in names}
    return _Stage(
        app,
        {
            **{kind: (login_ids, passwords[kind]) for kind, login_ids in names.items()},
            "unknown": ([f"nobody-{place}" for place in accounts], WRONG),
            "impossible login id": ([f"?{place}" for place in accounts], WRONG),
            "impossible password": ([f"nobody-else-{place}" for place in accounts], "\x07" * 20),
        },
    )


async def _older_hash(settings: Settings) -> str:
    """Hash as somebody did who had half the memory for it."""
    chosen = settings.passwords
    lanes_kib = 8 * chosen.parallelism
    older = PasswordHasher(
        memory_kib=max(chosen.memory_kib // 2, lanes_kib),
        iterations=chosen.iterations,
        parallelism=chosen.parallelism,
        workers=1,
    )
    try:
        return await older.hash(RIGHT)
    finally:
        older.close()


async def _measure(stage: _Stage, samples: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Try the kinds by turns, in another order each time, so that whatever else happens meets all alike."""
    spent_ms: dict[str, list[float]] = {kind: [] for kind in stage.names}
    work_ms: dict[str, list[float]] = {kind: [] for kind in stage.names}
    for kind in stage.names:
        await stage.log_in(f"warm-up-{kind.replace(' ', '-')}", WRONG)
    for _ in range(samples):
        for kind in random.sample(list(spent_ms), len(spent_ms)):
            spent, work = await stage.refuse(kind)
            spent_ms[kind].append(spent)
            work_ms[kind].append(work)
    return spent_ms, work_ms


@asynccontextmanager
async def _load(stage: _Stage) -> AsyncIterator[None]:
    """Keep the hashing threads busy: a few clients that log in one after the other."""
    is_over = asyncio.Event()

    async def keep_busy(client: int) -> None:
        for turn in count():
            if is_over.is_set():
                return
            await stage.log_in(f"load-{client}-{turn}", WRONG)

    clients = [asyncio.create_task(keep_busy(client)) for client in range(LOAD)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*clients)


def report(title: str, spent_ms: Mapping[str, list[float]]) -> list[str]:
    """Print the comparison, and give the kinds that can be told from a wrong password.

    A kind can be told when its median or its 95th percentile is further away than is allowed, and chance does
    not explain it. Noise is what chance explains: the machine was too busy to measure any better.
    """
    reference = spent_ms[REFERENCE]
    print_result(f"{title:<22}{'median':>13}{'p95':>13}{'differences':>24}{'by chance':>14}")
    told = []
    for kind, values in spent_ms.items():
        gaps = [own - other for own, other in zip(_shape(values), _shape(reference), strict=True)]
        chances = (mann_whitney(values, reference), tail_chance(values, reference))
        far = [not _is_small(gap, other) for gap, other in zip(gaps, _shape(reference), strict=True)]
        is_told = any(is_far and chance < UNLIKELY for is_far, chance in zip(far, chances, strict=True))
        told += [kind] if is_told else []
        remark = "  DIFFERS" if is_told else "  noise" if any(far) else ""
        median, p95 = _shape(values)
        print_result(
            f"  {kind:<20}{median:>10.2f} ms{p95:>10.2f} ms{gaps[0]:>+10.2f} {gaps[1]:>+10.2f} ms"
            f"{chances[0]:>7.2f} {chances[1]:>6.2f}{remark}"
        )
    return told


def mann_whitney(one: list[float], other: list[float]) -> float:
    """Give the chance of ranks this far apart or more if both came from one source (two-sided, no ties)."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, source) in enumerate(ranked, 1) if source == 0)
    expected = len(one) * (len(ranked) + 1) / 2
    deviation = math.sqrt(expected * len(other) / 6)
    return math.erfc(abs(rank_sum - expected) / deviation / math.sqrt(2))


def tail_chance(one: list[float], other: list[float]) -> float:
    """Give the chance of this many values beyond the other's 95th percentile if both came from one source."""
    beyond = sum(value > _shape(other)[1] for value in one)
    deviation = math.sqrt(len(one) * 0.05 * 0.95 * (1 + len(one) / len(other)))
    return math.erfc(abs(beyond - len(one) * 0.05) / deviation / math.sqrt(2))


def _shape(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


def _is_small(gap_ms: float, reference_ms: float) -> bool:
    return abs(gap_ms) < max(ALLOWED_MS, ALLOWED_SHARE * reference_ms)


def _scope_of(ip: str, length: int) -> dict[str, Any]:
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % length),
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/sessions",
        "raw_path": b"/v1/sessions",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": (ip, 50000),
        "server": ("localhost", 80),
    }


if __name__ == "__main__":
    prove_timing()
