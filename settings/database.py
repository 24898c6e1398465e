"""Where the accounts are kept, and how long anything there may take."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from settings.dsn import mask_dsn
from settings.section import Section
from settings.values import ROOT, Directory, Dsn, Duration, Expected, Variable

EMBEDDED = "embedded"


def _none_if_embedded(raw: object) -> object:
    return None if isinstance(raw, str) and raw.strip().lower() in {"", EMBEDDED} else raw


def _lane_beside(data: dict[str, Any]) -> int:
    return 0 if data["pgbouncer"] else min(4, data["pool_size"] - 1)


class DatabaseSettings(Section):
    """The PostgreSQL that keeps the accounts: the embedded one, or any other by its URL.

    Each time limit lies inside the next: lock, statement, command, request.
    """

    url: Annotated[
        Dsn | None,
        BeforeValidator(_none_if_embedded),
        Variable("DATABASE_URL", unset=EMBEDDED),
        Expected(f"a PostgreSQL URL such as postgresql://user:password@host:5432/database, or {EMBEDDED}"),
    ] = Field(
        default=None,
        description="The database: `postgresql://`, `postgres://` or `postgresql+asyncpg://`, with several "
        "hosts, socket directories and TLS parameters as in libpq. Unset: the embedded PostgreSQL.",
    )
    replica_url: Dsn | None = Field(
        default=None,
        description="A streaming standby of the database, reached past any pooler, that answers reads as far "
        "as it has got; several hosts as above. Unset: the database answers all.",
    )
    embedded_dir: Directory = Field(
        default=ROOT / "var/postgres",
        description="Where the embedded PostgreSQL keeps its data.",
    )
    pool_size: int = Field(default=10, ge=1, le=200, description="Connections per worker process, at most.")
    pool_timeout: Duration = Field(
        default=timedelta(seconds=2),
        ge=timedelta(milliseconds=10),
        le=timedelta(minutes=1),
        description="How long a request waits for a free connection before it is answered 503.",
    )
    connect_timeout: Duration = Field(
        default=timedelta(seconds=3),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="How long opening a connection may take.",
    )
    lock_timeout: Duration = Field(
        default=timedelta(seconds=2),
        ge=timedelta(milliseconds=10),
        le=timedelta(minutes=1),
        description="How long a statement waits for a lock; at most the statement timeout.",
    )
    statement_timeout: Duration = Field(
        default=timedelta(seconds=4),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=10),
        description="When PostgreSQL ends a statement; shorter than the command timeout.",
    )
    command_timeout: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=10),
        description="When the service gives up on an answer of a database that fell silent.",
    )
    idle_in_transaction_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=10),
        description="When PostgreSQL ends a transaction in which nothing happens.",
    )
    recycle: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(seconds=10),
        le=timedelta(days=1),
        description="The age at which a connection is replaced.",
    )
    pgbouncer: bool = Field(
        default=False,
        description="Whether a transaction pooler stands in between: then nothing is kept on connections.",
    )
    read_pool_size: int = Field(
        default_factory=_lane_beside,
        ge=0,
        le=100,
        description="Connections of the pool kept for single-statement reads; 0 switches the lane off. "
        "Unset: 4, fewer in a small pool, 0 behind a transaction pooler.",
    )

    @property
    def dsn(self) -> str | None:
        """The normalised URL with its password, or None for the embedded database."""
        return self.url.get_secret_value() if self.url else None

    @property
    def replica_dsn(self) -> str | None:
        """The normalised URL of the read replica with its password, or None."""
        return self.replica_url.get_secret_value() if self.replica_url else None

    @property
    def masked_replica_dsn(self) -> str:
        """The URL of the read replica as it may be printed; empty when there is none."""
        return mask_dsn(self.replica_dsn) if self.replica_dsn else ""

    @property
    def masked_dsn(self) -> str:
        """The URL as it may be printed: passwords are `***`; `embedded` when there is none."""
        return mask_dsn(self.dsn) if self.dsn else EMBEDDED

    def conflicts(self) -> Iterator[str]:
        """Tell which time limits or pool sizes do not go together."""
        if self.lock_timeout > self.statement_timeout:
            yield ("ROLLCALL_DATABASE__LOCK_TIMEOUT: may not exceed ROLLCALL_DATABASE__STATEMENT_TIMEOUT")
        if self.statement_timeout >= self.command_timeout:
            yield ("ROLLCALL_DATABASE__STATEMENT_TIMEOUT: must be below ROLLCALL_DATABASE__COMMAND_TIMEOUT")
        if self.read_pool_size >= self.pool_size:
            yield (
                "ROLLCALL_DATABASE__READ_POOL_SIZE: must be smaller than ROLLCALL_DATABASE__POOL_SIZE, "
                "or nothing is left for writes"
            )
