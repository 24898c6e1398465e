"""Settings of the database."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field

from settings.dsn import mask_dsn
from settings.section import Section
from settings.values import ROOT, Constraint, Directory, Dsn, Duration, Variable, WritableDsn, duration

EMBEDDED = "embedded"


def _none_if_embedded(raw: object) -> object:
    return None if isinstance(raw, str) and raw.strip().lower() in {"", EMBEDDED} else raw


class DatabaseSettings(Section):
    """The PostgreSQL database: the embedded one, or another by its URL.

    The time limits are nested: lock, statement, command, request.
    """

    url: Annotated[
        WritableDsn | None,
        BeforeValidator(_none_if_embedded),
        Variable("DATABASE_URL", unset=EMBEDDED),
        Constraint(f"a PostgreSQL URL such as postgresql://user:password@host:5432/database, or {EMBEDDED}"),
    ] = Field(
        default=None,
        description="URL of the database: `postgresql://`, `postgres://` or `postgresql+asyncpg://`, with "
        "several hosts, socket directories and TLS parameters as in libpq. Unset: the embedded PostgreSQL.",
    )
    replica_url: Dsn | None = Field(
        default=None,
        description="URL of a streaming standby that serves reads as far as it is up to date, without a "
        "pooler in between; several hosts as above. Unset: the database serves all reads.",
    )
    embedded_dir: Directory = Field(
        default=ROOT / "var/postgres",
        description="Directory of the embedded PostgreSQL.",
    )
    pool_size: int = Field(
        default=10, ge=1, le=200, description="Maximum number of connections per worker process."
    )
    pool_timeout: Duration = duration(
        "2s", "10ms", "1m", "Time to wait for a connection before a request gets 503."
    )
    connect_timeout: Duration = duration("3s", "100ms", "1m", "Time to open a connection.")
    lock_timeout: Duration = duration(
        "2s",
        "10ms",
        "1m",
        "Time after which PostgreSQL cancels a wait for a lock; at most the statement timeout.",
    )
    statement_timeout: Duration = duration(
        "4s",
        "100ms",
        "10m",
        "Time after which PostgreSQL cancels a statement; shorter than the command timeout.",
    )
    command_timeout: Duration = duration(
        "5s", "100ms", "10m", "Time after which the service gives up on a database that does not respond."
    )
    idle_in_transaction_timeout: Duration = duration(
        "10s", "1s", "10m", "Time after which PostgreSQL ends an idle transaction."
    )
    recycle: Duration = duration("30m", "10s", "1d", "Age at which a connection is replaced.")
    pgbouncer: bool = Field(
        default=False,
        description="A pooler in transaction mode is in between: keep no state on connections.",
    )
    read_pool_size: int = Field(
        default_factory=lambda data: 0 if data["pgbouncer"] else min(4, data["pool_size"] - 1),
        ge=0,
        le=100,
        description="Connections of the pool that are reserved for single-statement reads; 0 disables the "
        "read pool. Unset: 4, fewer in a small pool, 0 behind a pooler.",
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
        """The URL of the read replica with passwords masked; empty if there is none."""
        return mask_dsn(self.replica_dsn) if self.replica_dsn else ""

    @property
    def masked_dsn(self) -> str:
        """The URL with passwords masked; `embedded` if there is none."""
        return mask_dsn(self.dsn) if self.dsn else EMBEDDED

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each conflict between time limits or pool sizes."""
        if self.lock_timeout > self.statement_timeout:
            yield ("ROLLCALL_DATABASE__LOCK_TIMEOUT: may not exceed ROLLCALL_DATABASE__STATEMENT_TIMEOUT")
        if self.statement_timeout >= self.command_timeout:
            yield ("ROLLCALL_DATABASE__STATEMENT_TIMEOUT: must be below ROLLCALL_DATABASE__COMMAND_TIMEOUT")
        if self.read_pool_size >= self.pool_size:
            yield (
                "ROLLCALL_DATABASE__READ_POOL_SIZE: must be smaller than ROLLCALL_DATABASE__POOL_SIZE, "
                "or nothing is left for writes"
            )
