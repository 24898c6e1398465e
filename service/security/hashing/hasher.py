"""Makes and verifies password hashes: off the event loop, a few at a time, in equal time for every no."""

import logging
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import TypeVar

import argon2
from argon2.exceptions import HashingError

from service.domain.errors import HashingBusy
from service.observability.stats import HashingStats
from service.security.hashing import imported_hashes
from service.security.hashing.limiter import HashingLimiter
from service.security.hashing.pool import HashingPool
from service.security.hashing.system_limits import available_cores, memory_limit_bytes

__all__ = ["HashingStats", "PasswordHasher", "default_workers"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SALT_BYTES = 16
_TAG_BYTES = 32
_MAX_QUEUE_PER_WORKER = 2048
_MOST_QUEUED = 10_000
_PERMITS_PER_WORKER = 3  # enough to keep the threads busy while others wait for a commit
_MEMORY_SHARE = 4
_MIN_LANE_KIB = 8
_MEAN_WEIGHT = 1 / 8


class PasswordHasher:
    """Hashes with argon2id at the given cost, in a pool of threads of its own.

    `memory_kib`, `iterations` and `parallelism` are argon2's m, t and p, within the bounds of `foreign`, else
    ValueError. `workers` is by default what `default_workers` says, `max_queue` 2048 a worker.
    Source: OWASP ASVS 5.0 11.4.2, 15.1.3, 15.2.2; RFC 9106 4.
    """

    def __init__(
        self,
        *,
        memory_kib: int,
        iterations: int,
        parallelism: int,
        workers: int | None = None,
        max_queue: int | None = None,
        queue_timeout: timedelta = timedelta(seconds=2),
    ) -> None:
        self._argon2 = argon2.PasswordHasher(iterations, memory_kib, parallelism, _TAG_BYTES, _SALT_BYTES)
        self._memory_kib, self._iterations, self._parallelism = memory_kib, iterations, parallelism
        self._dummy_hash = self._random_hash(memory_kib)
        self._baseline_seconds = 0.0
        self._large_memory = Lock()
        if workers is None:
            workers = default_workers(memory_kib, available_cores(), memory_limit_bytes())
        if max_queue is None:
            max_queue = min(workers * _MAX_QUEUE_PER_WORKER, _MOST_QUEUED)
        self._pool = HashingPool(workers=workers, queue_timeout=queue_timeout)
        self._gate = HashingLimiter(
            permits=_PERMITS_PER_WORKER * workers, max_queue=max_queue, queue_timeout=queue_timeout
        )

    def turn(self, caller: str) -> AbstractAsyncContextManager[None]:
        """Run what hashes, and what goes with it, when its turn has come: few are let in at a time.

        `caller` is whose turn it takes, the network of the client: no network keeps the others waiting.

        Raises:
            HashingBusy: too many wait already, or it has waited too long. Nothing was done.
        """
        return self._gate.acquire(caller)

    async def hash(self, password: str) -> str:
        """Return a new argon2id hash of a normalised password, salted afresh, in PHC form.

        Raises:
            HashingBusy: no thread came free in time, or memory is wanting.
        """
        return await self._run(partial(self._make, password))

    async def verify(self, password_hash: str | None, password: str | None) -> bool:
        """Tell whether a normalised password fits a stored hash; every kind of no takes the same work.

        None for either says that there is none. A hash that is cheaper than the present parameters and does
        not fit is topped up to them. One that cannot be read or costs too much counts as none, and is logged.

        Raises:
            HashingBusy: no thread came free in time, or memory is wanting.
        Source: OWASP ASVS 5.0 6.3.8; CVE-2016-2513, CVE-2024-39329 (cheap or missing hashes told apart).
        """
        return await self._run(partial(self._check, password_hash, password))

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether a hash is foreign or of other parameters than `hash` uses now.

        Source: NIST SP 800-63B-4 3.1.1.2 (the cost rises over time).
        """
        return not password_hash.startswith(self._prefix(self._memory_kib))

    def stats(self) -> HashingStats:
        """Return what goes on now; the wait is that of whoever waits longest for a turn."""
        pool, gate = self._pool, self._gate
        return HashingStats(
            pool.workers,
            pool.queued + gate.waiting,
            gate.oldest_wait_seconds(),
            pool.running,
            pool.done_total,
            pool.shed_total + gate.shed_total,
        )

    def close(self) -> None:
        """Refuse what comes later, and return when the hashes in hand are done."""
        self._pool.close()

    async def _run(self, work: Callable[[], T]) -> T:
        """Run work in the pool; what finds no memory was not done, and may be asked for again."""
        spent_seconds = 0.0

        def timed() -> T:
            nonlocal spent_seconds
            began_at = time.monotonic()
            try:
                return work()
            finally:
                spent_seconds = time.monotonic() - began_at

        try:
            return await self._pool.run(timed)
        except MemoryError:
            logger.warning("there is no memory for a hash")
            raise HashingBusy from None
        finally:
            self._gate.note_work(spent_seconds)

    def _make(self, password: str) -> str:
        try:
            return self._argon2.hash(password)
        except HashingError as error:  # the parameters were checked: only memory, or a thread, can be wanting
            raise MemoryError from error

    def _check(self, password_hash: str | None, password: str | None) -> bool:
        if password_hash is None or password is None or (stored := _readable(password_hash)) is None:
            self._verify_dummy()
            return False
        fits, spent_seconds = self._timed(stored, password)
        if not self.needs_rehash(password_hash):
            self._record_baseline(spent_seconds)
        elif not fits:
            with suppress(MemoryError):  # the no stands and counts: a refusal would give the guess back
                self._pad_to_baseline(spent_seconds)
        return fits

    def _verify_dummy(self) -> None:
        _, spent_seconds = self._timed(self._dummy_hash, "")
        self._record_baseline(spent_seconds)

    def _record_baseline(self, spent_seconds: float) -> None:
        weight = _MEAN_WEIGHT if self._baseline_seconds else 1
        self._baseline_seconds += weight * (spent_seconds - self._baseline_seconds)

    def _pad_to_baseline(self, spent_seconds: float) -> None:
        """Do what is missing to the usual work; time rises evenly with memory, so memory is scaled."""
        if not self._baseline_seconds:
            self._verify_dummy()
        missing = 1 - spent_seconds / self._baseline_seconds
        memory_kib = int(self._memory_kib * missing)
        if memory_kib >= _MIN_LANE_KIB * self._parallelism:
            self._timed(self._random_hash(memory_kib), "")

    def _timed(self, stored: imported_hashes.StoredHash, password: str) -> tuple[bool, float]:
        """Verify, and say how long it took without what others did to the core meanwhile."""
        clock = time.thread_time if stored.threads == 1 else time.perf_counter
        with self._large_memory if stored.memory_kib > self._memory_kib else nullcontext():
            started = clock()
            fits = stored.matches(password.encode())
            return fits, clock() - started

    def _random_hash(self, memory_kib: int) -> imported_hashes.StoredHash:
        """A hash of no password: its tag is random, so nobody can know one that fits."""
        salt, tag = _base64(secrets.token_bytes(_SALT_BYTES)), _base64(secrets.token_bytes(_TAG_BYTES))
        return imported_hashes.read(f"{self._prefix(memory_kib)}{salt}${tag}")

    def _prefix(self, memory_kib: int) -> str:
        return f"$argon2id$v=19$m={memory_kib},t={self._iterations},p={self._parallelism}$"


def default_workers(memory_kib: int, cores: int, memory_limit_bytes: int | None) -> int:
    """Return how many hashes may run at once: one a core, in a quarter of the memory, at least 1."""
    if memory_limit_bytes is None:
        return cores
    return max(1, min(cores, memory_limit_bytes // _MEMORY_SHARE // (memory_kib * 1024)))


def _readable(password_hash: str) -> imported_hashes.StoredHash | None:
    try:
        return imported_hashes.read(password_hash)
    except imported_hashes.UnsupportedHash as unusable:
        logger.warning("a stored password hash cannot be used, the log-in fails: %s", unusable)
        return None


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
