"""Prove that the duration of a rejected login does not reveal whether the account exists.

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
from uuid import UUID

import click
import httpx

from service.app import Application, create_app
from service.cli.console import print_result, print_status
from service.db.core.transaction import Transaction
from service.db.migrations.running import upgrade
from service.db.migrations.scratch import scratch_database
from service.db.repositories.factors import FactorRepository
from service.db.repositories.totp import TotpRepository
from service.db.repositories.users import NewUser, UserRepository
from service.domain.callers import OPERATOR
from service.domain.users import UserRole, UserState
from service.observability.logging import configure_logs
from service.security.hashing.scheme import HashingScheme
from service.security.ids import new_id
from service.services import Services, configured_database
from settings import Settings, get_settings
from settings.log import LogSettings

RIGHT, WRONG = "mauve otter sings at dawn", "crimson kettle drums loudly"
REFERENCE: Final = "wrong password"
SECOND_FACTOR: Final = "second factor"
"""A wrong password of a user who has one: the right one alone gets another answer."""
ATTEMPTS_PER_ACCOUNT: Final = 4
"""Fewer than the throttle permits without a delay."""
LOAD_CLIENTS: Final = 2
HASHING_BUSY: Final = 503
"""The machine is busy, whatever the account: repeated."""
MAX_DIFFERENCE_MS, MAX_DIFFERENCE_SHARE = 5.0, 0.05
ALPHA: Final = 0.001


@click.command("prove-timing")
@click.option("--samples", default=300, show_default=True, type=click.IntRange(20), help="Of each kind.")
def prove_timing(samples: int) -> None:
    """Compare the durations of all kinds of rejected logins, idle and under load.

    Works on a scratch database beside the configured one, with the configured hashing. Exit status 1 if the
    median or the 95th percentile of a kind differs from a wrong password by more than 5 ms and 5 %, and
    significantly. Processor time is compared as well: it shows differences in work on a busy machine.
    """
    settings = get_settings()
    configure_logs(settings.model_copy(update={"log": LogSettings(level="error")}))
    with configured_database(settings) as dsn:
        distinguishable = asyncio.run(_prove(settings, dsn, samples))
    if distinguishable:
        raise click.ClickException(f"Distinguishable from a wrong password: {', '.join(distinguishable)}.")
    print_result("No kind of rejected login is distinguishable from a wrong password by its duration.")


async def _prove(settings: Settings, dsn: str, samples: int) -> list[str]:
    async with scratch_database(dsn) as scratch:
        await upgrade(scratch)
        app = create_app(settings, dsn=scratch)
        async with app.lifespan():
            attempts = await _prepare(app, samples)
            kinds = len(attempts.kinds)
            print_status(f"{samples} rejected logins of each of {kinds} kinds, twice; this takes minutes.")
            idle_ms, work_ms = await _measure(attempts, samples)
            found = [f"{kind} (idle)" for kind in report("idle", idle_ms)]
            found += [f"{kind} (work)" for kind in report("processor time", work_ms)]
            async with _load(attempts):
                loaded_ms, _ = await _measure(attempts, samples)
            return found + [f"{kind} (under load)" for kind in report("under load", loaded_ms)]


@dataclass
class _Attempts:
    """The application, and login attempts that it rejects."""

    app: Application
    kinds: Mapping[str, tuple[list[str], str]]
    """Login ids and password, by kind of rejection."""
    networks: Iterator[int] = field(default_factory=count)
    done: Counter[str] = field(default_factory=Counter)

    async def attempt(self, kind: str) -> tuple[float, float]:
        """Attempt a login of a kind; return its duration and the processor time meanwhile, both in ms."""
        login_ids, password = self.kinds[kind]
        login_id = login_ids[self.done[kind] // ATTEMPTS_PER_ACCOUNT]
        self.done[kind] += 1
        while True:
            started_at, worked_s = time.perf_counter(), time.process_time()
            status = await self.log_in(login_id, password)
            spent_s, worked_s = time.perf_counter() - started_at, time.process_time() - worked_s
            if status == 401:
                return spent_s * 1000, worked_s * 1000
            if status != HASHING_BUSY:
                raise click.ClickException(f"A login that must get 401 got {status}.")

    async def log_in(self, login_id: str, password: str) -> int:
        """Log in from a network of its own, without a socket; return the status."""
        number = next(self.networks)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        # httpx and Litestar spell ASGI's types differently.
        transport = httpx.ASGITransport(app=cast(Any, self.app), client=(address, 50000))
        body = {"login_id": login_id, "password": password}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.post("/v1/sessions", json=body)).status_code


async def _prepare(app: Application, samples: int) -> _Attempts:
    """Create enough accounts to stay below every limit of the throttle, in both rounds."""
    service: Services = app.services
    accounts = range(-(-2 * samples // ATTEMPTS_PER_ACCOUNT))
    async with service.hasher.acquire("proof") as permit:
        ours = await permit.hash(RIGHT)
    older = _older_hash(service.settings)
    rows = {
        REFERENCE: (ours, UserState.ACTIVE),
        "disabled": (ours, UserState.DISABLED),
        "no password": (None, UserState.ACTIVE),
        "older hash": (older, UserState.ACTIVE),
        SECOND_FACTOR: (ours, UserState.ACTIVE),
    }
    names = {kind: [f"{kind.replace(' ', '-')}-{place}" for place in accounts] for kind in rows}
    async with service.database.transaction(caller=OPERATOR) as tx:
        for kind, (password_hash, state) in rows.items():
            for login_id in names[kind]:
                new = NewUser(new_id(), login_id, "Timing", password_hash, UserRole.USER, state)
                user = await UserRepository(tx).add(new)
                if kind == SECOND_FACTOR:
                    await _add_factor(tx, user.id)
    passwords = {kind: RIGHT if kind == "disabled" else WRONG for kind in names}
    return _Attempts(
        app,
        {
            **{kind: (login_ids, passwords[kind]) for kind, login_ids in names.items()},
            "unknown": ([f"nobody-{place}" for place in accounts], WRONG),
            "impossible login id": ([f"?{place}" for place in accounts], WRONG),
            "impossible password": ([f"nobody-else-{place}" for place in accounts], "\x00" * 20),
        },
    )


async def _add_factor(tx: Transaction, user_id: UUID) -> None:
    """Add an authenticator app, whose secret is never read: every password here is wrong."""
    await TotpRepository(tx).put_pending(new_id(), user_id, bytes(64))
    await TotpRepository(tx).confirm_pending(user_id, step=0)
    await FactorRepository(tx).refresh(user_id)


def _older_hash(settings: Settings) -> str:
    """Return a hash with half the memory of today's."""
    chosen = settings.passwords
    lanes_kib = 8 * chosen.parallelism
    older = HashingScheme(
        memory_kib=max(chosen.memory_kib // 2, lanes_kib),
        iterations=chosen.iterations,
        parallelism=chosen.parallelism,
    )
    return older.hash(RIGHT)


async def _measure(
    attempts: _Attempts, samples: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return duration and processor time of all attempts, ms; the order of kinds is random each time."""
    spent_ms: dict[str, list[float]] = {kind: [] for kind in attempts.kinds}
    work_ms: dict[str, list[float]] = {kind: [] for kind in attempts.kinds}
    for kind in attempts.kinds:
        await attempts.log_in(f"warm-up-{kind.replace(' ', '-')}", WRONG)
    for _ in range(samples):
        for kind in random.sample(list(spent_ms), len(spent_ms)):
            spent, work = await attempts.attempt(kind)
            spent_ms[kind].append(spent)
            work_ms[kind].append(work)
    return spent_ms, work_ms


@asynccontextmanager
async def _load(attempts: _Attempts) -> AsyncIterator[None]:
    """Keep the hashing threads busy while the block runs."""
    is_over = asyncio.Event()

    async def keep_busy(client: int) -> None:
        for number in count():
            if is_over.is_set():
                return
            await attempts.log_in(f"load-{client}-{number}", WRONG)

    clients = [asyncio.create_task(keep_busy(client)) for client in range(LOAD_CLIENTS)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*clients)


def report(
    title: str,
    spent_ms: Mapping[str, list[float]],
    *,
    reference: str = REFERENCE,
    max_difference_ms: float = MAX_DIFFERENCE_MS,
) -> list[str]:
    """Print the comparison, and return the kinds that are distinguishable from the reference.

    A kind is distinguishable if its median or its 95th percentile differs by more than is allowed, and
    significantly. "noise" marks a difference that is not significant: the machine was too busy.
    """
    expected = spent_ms[reference]
    print_result(f"{title:<22}{'median':>13}{'p95':>13}{'differences':>24}{'p-values':>14}")
    distinguishable = []
    for kind, values in spent_ms.items():
        differences = [own - other for own, other in zip(_shape(values), _shape(expected), strict=True)]
        p_values = (p_value(values, expected), tail_p_value(values, expected))
        large = [
            not _is_small(gap, other, max_difference_ms)
            for gap, other in zip(differences, _shape(expected), strict=True)
        ]
        differs = any(is_large and p < ALPHA for is_large, p in zip(large, p_values, strict=True))
        distinguishable += [kind] if differs else []
        remark = "  DIFFERS" if differs else "  noise" if any(large) else ""
        median, p95 = _shape(values)
        print_result(
            f"  {kind:<20}{median:>10.2f} ms{p95:>10.2f} ms"
            f"{differences[0]:>+10.2f} {differences[1]:>+10.2f} ms"
            f"{p_values[0]:>7.2f} {p_values[1]:>6.2f}{remark}"
        )
    return distinguishable


def p_value(one: list[float], other: list[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test, without ties."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, source) in enumerate(ranked, 1) if source == 0)
    expected = len(one) * (len(ranked) + 1) / 2
    deviation = math.sqrt(expected * len(other) / 6)
    return math.erfc(abs(rank_sum - expected) / deviation / math.sqrt(2))


def tail_p_value(one: list[float], other: list[float]) -> float:
    """Return the p-value of the number of values above the other's 95th percentile."""
    beyond = sum(value > _shape(other)[1] for value in one)
    deviation = math.sqrt(len(one) * 0.05 * 0.95 * (1 + len(one) / len(other)))
    return math.erfc(abs(beyond - len(one) * 0.05) / deviation / math.sqrt(2))


def _shape(values: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


def _is_small(difference_ms: float, reference_ms: float, allowed_ms: float) -> bool:
    return abs(difference_ms) < max(allowed_ms, MAX_DIFFERENCE_SHARE * reference_ms)


if __name__ == "__main__":
    prove_timing()
