"""Figures that the parts of a process report to the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Current use of a connection pool."""

    name: str
    used: int
    idle: int
    limit: int
    waiting: int | None = None
    """Callers that wait for a connection, None if unknown."""


@dataclass(frozen=True, slots=True)
class HashingStats:
    """Current use of the hasher, and totals since it was created."""

    workers: int
    queued: int
    oldest_wait_seconds: float
    running: int
    done_total: int
    shed_total: int


MAIL_OUTCOMES: Final = ("sent", "failed", "dead")
"""Accepted by the mail server; to be tried again; given up."""


@dataclass(frozen=True, slots=True)
class MailStats:
    """Mails by outcome since the start of the process, and those that wait in the outbox."""

    outcomes: Mapping[str, int]
    pending: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Current figures of one process."""

    hashing: HashingStats
    pools: tuple[PoolStats, ...]
    schema_revision: int | None
    """The number of the database's revision, None if unknown."""
    replica_reads: Mapping[str, int] = field(default_factory=dict)
    """Total reads for which the replica was considered, by outcome; empty without a replica."""
    mail: MailStats = MailStats({}, 0, 0.0)
    access_tokens_total: int = 0
    """Access tokens that were issued."""
