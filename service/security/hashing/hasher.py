"""Hash and verify passwords on threads of their own, under permits of a limiter."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from service.domain.errors import HashingBusy
from service.observability.stats import HashingStats
from service.security.hashing.limiter import HashingLimiter, Permit
from service.security.hashing.pool import HashingPool
from service.security.hashing.scheme import HashingScheme
from service.security.hashing.system_limits import available_cores, default_workers, memory_limit_bytes

T = TypeVar("T")

_MAX_QUEUE_PER_WORKER = 2048
_MAX_QUEUE = 10_000
_PERMITS_PER_WORKER = 3  # keeps the threads busy while other permit holders wait for a commit

_log = structlog.get_logger(__name__)


class HashingPermit:
    """The right to hash, valid inside `PasswordHasher.acquire`. `password` is in normal form."""

    def __init__(self, scheme: HashingScheme, pool: HashingPool, permit: Permit) -> None:
        self._scheme, self._pool, self._permit = scheme, pool, permit

    async def hash(self, password: str) -> str:
        """Return a new argon2id hash in PHC form, with a fresh salt.

        Raises:
            HashingBusy: no thread became free in time, or memory is short. Nothing was done.
        """
        return await self._run(partial(self._scheme.hash, password))

    async def verify(
        self,
        password_hash: str | None,
        password: str | None,
        as_typed: str | None = None,
        nfkc: str | None = None,
    ) -> bool:
        """Return whether a password matches a stored hash; see `HashingScheme.verify_forms`.

        All forms are one job of one thread, and the flow is charged for the work of all.

        Raises:
            HashingBusy: no thread became free in time, or memory is short. Nothing was verified.
        """
        return await self._run(partial(self._scheme.verify_forms, password_hash, password, as_typed, nfkc))

    async def _run(self, work: Callable[[], T]) -> T:
        work_seconds = 0.0

        def timed_work() -> T:
            nonlocal work_seconds
            started_at = time.monotonic()
            try:
                return work()
            finally:
                work_seconds = time.monotonic() - started_at

        try:
            return await self._pool.run(timed_work)
        except MemoryError:
            _log.warning("hashing_memory_unavailable")
            raise HashingBusy from None
        finally:
            self._permit.charge(work_seconds)


class PasswordHasher:
    """Hash with argon2id at the given cost, for a bounded number of requests at once.

    `memory_kib`, `iterations` and `parallelism` are those of `HashingScheme`. `workers` defaults to
    `default_workers`, `max_queue` to 2048 a worker. Source: OWASP ASVS 5.0 15.1.3, 15.2.2.
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
        self._scheme = HashingScheme(memory_kib=memory_kib, iterations=iterations, parallelism=parallelism)
        if workers is None:
            workers = default_workers(memory_kib, available_cores(), memory_limit_bytes())
        if max_queue is None:
            max_queue = min(workers * _MAX_QUEUE_PER_WORKER, _MAX_QUEUE)
        self._pool = HashingPool(workers=workers, queue_timeout=queue_timeout)
        self.limiter = HashingLimiter(
            total_permits=_PERMITS_PER_WORKER * workers, max_queue=max_queue, queue_timeout=queue_timeout
        )

    @asynccontextmanager
    async def acquire(self, flow: str) -> AsyncIterator[HashingPermit]:
        """Hold a permit for a block that hashes, with all that belongs to it.

        `flow` is the network of the client: networks are served round robin.

        Raises:
            HashingBusy: the queue is full, or no permit became free in time. Nothing was done.
        """
        async with self.limiter.acquire(flow) as permit:
            yield HashingPermit(self._scheme, self._pool, permit)

    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether a hash is of another format or of other parameters than new hashes."""
        return self._scheme.needs_rehash(password_hash)

    def stats(self) -> HashingStats:
        """Return statistics of threads and queue."""
        pool, limiter = self._pool, self.limiter
        return HashingStats(
            pool.workers,
            pool.queued + limiter.waiting,
            limiter.oldest_wait_seconds(),
            pool.running,
            pool.done_total,
            pool.shed_total + limiter.shed_total,
        )

    def close(self) -> None:
        """Reject new work, and return when the running hashes are done."""
        self._pool.close()
