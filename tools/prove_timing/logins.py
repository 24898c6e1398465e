"""Prove that the duration of a rejected login does not reveal whether the account exists.

Source: OWASP ASVS 5.0 6.3.8; CVE-2024-39329, CVE-2016-2513.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final
from uuid import UUID

import click

from service.app import Application
from service.cli.console import print_result, print_status
from service.db.core.transaction import Transaction
from service.db.repositories.factors import FactorRepository
from service.db.repositories.totp import TotpRepository
from service.db.repositories.users import NewUser, UserRepository
from service.domain.callers import OPERATOR
from service.domain.users import UserRole, UserState
from service.security.hashing.scheme import HashingScheme
from service.security.ids import new_id
from service.services import Services
from settings import Settings, get_settings
from tools.prove_timing.comparison import report
from tools.prove_timing.scratch_service import post, run_with_application

RIGHT, WRONG = "mauve otter sings at dawn", "crimson kettle drums loudly"
REFERENCE: Final = "wrong password"
SECOND_FACTOR: Final = "second factor"
"""A wrong password of a user who has one: the right one alone gets another answer."""
ATTEMPTS_PER_ACCOUNT: Final = 4
"""Fewer than the throttle permits without a delay."""
LOAD_CLIENTS: Final = 2
HASHING_BUSY: Final = 503
"""The machine is busy, whatever the account: repeated."""
MAX_DIFFERENCE_MS: Final = 5.0


@click.command("prove-timing")
@click.option("--samples", default=300, show_default=True, type=click.IntRange(20), help="Of each kind.")
def prove_timing(samples: int) -> None:
    """Compare the durations of all kinds of rejected logins, idle and under load.

    Works on a scratch database beside the configured one, with the configured hashing. Exit status 1 if the
    median or the 95th percentile of a kind differs from a wrong password by more than 5 ms and 5 %, and
    significantly. Processor time is compared as well: it shows differences in work on a busy machine.
    """
    distinguishable = run_with_application(get_settings(), lambda app: _prove(app, samples))
    if distinguishable:
        raise click.ClickException(f"Distinguishable from a wrong password: {', '.join(distinguishable)}.")
    print_result("No kind of rejected login is distinguishable from a wrong password by its duration.")


async def _prove(app: Application, samples: int) -> list[str]:
    async with app.lifespan():
        attempts = await _prepare(app, samples)
        kinds = len(attempts.kinds)
        print_status(f"{samples} rejected logins of each of {kinds} kinds, twice; this takes minutes.")
        idle_ms, work_ms = await _measure(attempts, samples)
        found = [f"{kind} (idle)" for kind in _report("idle", idle_ms)]
        found += [f"{kind} (work)" for kind in _report("processor time", work_ms)]
        async with _load(attempts):
            loaded_ms, _ = await _measure(attempts, samples)
        return found + [f"{kind} (under load)" for kind in _report("under load", loaded_ms)]


def _report(title: str, spent_ms: Mapping[str, list[float]]) -> list[str]:
    return report(title, spent_ms, reference=REFERENCE, max_difference_ms=MAX_DIFFERENCE_MS)


@dataclass
class _Attempts:
    """The application, and login attempts that it rejects."""

    app: Application
    kinds: Mapping[str, tuple[list[str], str]]
    """Login ids and password, by kind of rejection."""
    done: Counter[str] = field(default_factory=Counter)

    async def attempt(self, kind: str) -> tuple[float, float]:
        """Attempt a login of a kind; return its duration and the processor time meanwhile, both in ms."""
        login_ids, password = self.kinds[kind]
        login_id = login_ids[self.done[kind] // ATTEMPTS_PER_ACCOUNT]
        self.done[kind] += 1
        while True:
            worked_s = time.process_time()
            status, spent_ms = await self.log_in(login_id, password)
            worked_s = time.process_time() - worked_s
            if status == 401:
                return spent_ms, worked_s * 1000
            if status != HASHING_BUSY:
                raise click.ClickException(f"A login that must get 401 got {status}.")

    async def log_in(self, login_id: str, password: str) -> tuple[int, float]:
        """Log in from a network of its own; return the status, and the duration in ms."""
        body = {"login_id": login_id, "password": password}
        response, spent_ms = await post(self.app, "/v1/sessions", body)
        return response.status_code, spent_ms


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


if __name__ == "__main__":
    prove_timing()
