"""The parts of a running process, opened and closed in one place for server, commands and tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.connect_errors import DATABASE_ERRORS, URL, explain
from service.db.core.database import Database, ignore_action
from service.db.core.engine import create_engine
from service.db.core.read_pool import ReadPool
from service.db.core.replica import Replica
from service.db.migrations.compatibility import THIS_RELEASE, SchemaStatus, read_schema_state
from service.db.readiness import Readiness
from service.db.reads import Reads
from service.db.repositories.authority import guard_of
from service.db.write_lease import WriteLease
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown, ValidationFailed
from service.embedded.server import EmbeddedPostgres
from service.observability.logging import configure_logs
from service.policies import policies_from
from service.security.hashing.hasher import PasswordHasher
from service.security.mail_tokens import MailTokens
from service.security.webauthn import relying_party_of
from service.usecases.access_tokens import AccessTokenIssuer
from service.usecases.attempt_turns import AttemptTurns
from service.usecases.factor_proofs import FactorVerifier
from service.usecases.factors import FactorParts
from service.usecases.last_used import LastUsedTracker
from service.usecases.open_session import LoginParts
from settings import Settings, get_settings
from settings.dsn import mask_dsn
from settings.libpq import discard_libpq_variables

if TYPE_CHECKING:  # imports cryptography and PyJWT, a third of a second that few starts need (ADR 19)
    from service.security.encryption import SecretCipher
    from service.usecases.signing_keys import SigningKeyRing
    from service.usecases.totp_secrets import TotpSecrets

ResultT = TypeVar("ResultT")

BACKGROUND_CONNECTIONS = 2
"""Connections of the background engine, which every process opens besides `pool_size`."""
REPLICA_CONNECTIONS = 4
"""Size of the replica's read pool if the primary has none because of a pooler."""


class Services:
    """The parts of one process.

    The background engine serves health checks and periodic tasks, so that they and requests do not wait for
    each other. `on_audit` gets each committed audit action.
    """

    cipher: "SecretCipher | None" = None
    signing_keys: "SigningKeyRing | None" = None
    totp_secrets: "TotpSecrets | None" = None

    def __init__(
        self, settings: Settings, dsn: str, *, on_audit: Callable[[str], None] = ignore_action
    ) -> None:
        """Create the parts without opening a connection."""
        pool_size, name = settings.database.pool_size, settings.service_name
        self.settings = settings
        self.policies = policies_from(settings)
        self.engine = _create_engine(settings, dsn, pool_size=pool_size, name=name)
        self.lease = WriteLease()
        self.database = Database(self.engine, guard_of, lease=self.lease, on_audit=on_audit)
        self.background_engine = _create_engine(
            settings, dsn, pool_size=BACKGROUND_CONNECTIONS, name=f"{name}-background"
        )
        self.background_database = Database(
            self.background_engine, guard_of, lease=self.lease, on_audit=on_audit
        )
        self.read_pool = ReadPool(
            self.engine,
            size=settings.database.read_pool_size,
            wait_timeout=settings.database.pool_timeout.total_seconds(),
            recycle=settings.database.recycle.total_seconds(),
        )
        self.replica = _create_replica(settings, self.read_pool)
        self.reads = Reads(self.read_pool, self.replica)
        # The hashing settings have the names of the parameters.
        self.hasher = PasswordHasher(**settings.passwords.model_dump(exclude={"min_length", "temporary_ttl"}))
        if settings.secrets.keys:
            self._create_encrypted()
        self.access_tokens = AccessTokenIssuer(self.policies.access_tokens, self.signing_keys)
        self.mail_tokens = MailTokens(settings.secrets.keys)
        self.relying_party = relying_party_of(self.policies.factors)
        self.factors = FactorParts(self.database, self.policies, self.totp_secrets, self.relying_party)
        self.last_used = LastUsedTracker(self.policies.sessions)
        self.login = self._create_login()
        self.readiness = Readiness(self.background_engine)

    def _create_login(self) -> LoginParts:
        limiter = self.hasher.limiter
        turns = AttemptTurns(timeout=limiter.queue_timeout, max_waiting=limiter.max_queue)
        verifier = FactorVerifier(self.reads.second_factors, self.totp_secrets, self.relying_party)
        return LoginParts(
            self.database, self.reads, self.hasher, turns, self.last_used, self.policies, verifier
        )

    def _create_encrypted(self) -> None:
        """Create the encryption of stored secrets, and the parts that have some."""
        from service.security.encryption import SecretCipher
        from service.usecases.totp_secrets import TotpSecrets

        self.cipher = SecretCipher(self.settings.secrets.keys)
        self.totp_secrets = TotpSecrets(self.cipher)
        if (tokens := self.policies.access_tokens) is not None:
            from service.usecases.signing_keys import SigningKeyRing

            self.signing_keys = SigningKeyRing(
                self.reads.signing_keys, self.background_database, self.cipher, tokens.algorithm
            )

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[Self]:
        """Close every part after the block, in the reverse order of their dependencies."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.background_engine.dispose)
            stack.push_async_callback(self.engine.dispose)
            stack.push_async_callback(self.read_pool.close)
            if self.replica is not None:
                stack.push_async_callback(self.replica.close)
            stack.push_async_callback(asyncio.to_thread, self.hasher.close)
            yield self


def _create_engine(
    settings: Settings, dsn: str, *, pool_size: int, name: str, pgbouncer: bool | None = None
) -> AsyncEngine:
    database = settings.database
    return create_engine(
        dsn,
        pool_size=pool_size,
        pool_timeout=database.pool_timeout.total_seconds(),
        connect_timeout=database.connect_timeout.total_seconds(),
        command_timeout=database.command_timeout.total_seconds(),
        statement_timeout=database.statement_timeout.total_seconds(),
        lock_timeout=database.lock_timeout.total_seconds(),
        idle_in_transaction_timeout=database.idle_in_transaction_timeout.total_seconds(),
        recycle=database.recycle.total_seconds(),
        application_name=name,
        pgbouncer=database.pgbouncer if pgbouncer is None else pgbouncer,
        json_deserializer=msgspec.json.decode,
    )


def _create_replica(settings: Settings, primary: ReadPool) -> Replica | None:
    database = settings.database
    if database.replica_dsn is None:
        return None
    size = database.read_pool_size or REPLICA_CONNECTIONS
    name = f"{settings.service_name}-replica"
    engine = _create_engine(settings, database.replica_dsn, pool_size=size + 1, name=name, pgbouncer=False)
    return Replica(engine, primary, size=size, recycle=database.recycle.total_seconds())


@contextmanager
def configured_database(settings: Settings, *, for_migrations: bool = False) -> Iterator[str]:
    """Yield the DSN of the configured database; the embedded one runs as long as the block."""
    dsn = settings.migrations_dsn if for_migrations else settings.database.dsn
    if dsn is not None:
        yield dsn
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        yield postgres.dsn


def run_command(work: Callable[[Services], Awaitable[ResultT]]) -> ResultT:
    """Run the work of a command on the configured database, with logging for commands."""
    settings = get_settings()
    configure_logs(settings, is_command=True)
    with configured_database(settings) as dsn:
        return run_with_services(settings, dsn, work)


def run_with_services(
    settings: Settings, dsn: str, work: Callable[[Services], Awaitable[ResultT]]
) -> ResultT:
    """Run work with services of its own, in an event loop of its own.

    Raises: click.ClickException with a sentence for the operator: a UsageError if what was given breaks a
        rule, another if the database fails.
    """

    async def run() -> ResultT:
        with explaining_database_errors(settings.database.dsn):
            async with Services(settings, dsn).closing() as services, _explaining_errors(services):
                return await work(services)

    return asyncio.run(run())


@contextmanager
def explaining_database_errors(dsn: str | None, url: str = URL) -> Iterator[None]:
    """Word failures of the database at `dsn`, which the variable `url` holds.

    Raises: click.ClickException with one sentence and the masked URL.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        if (reason := explain(error, url)) is None:
            raise
        raise click.ClickException(_unusable(dsn, reason)) from error


def _unusable(dsn: str | None, reason: str) -> str:
    ignored = discard_libpq_variables() if dsn else ()
    hint = f" Variables of libpq have no effect: {', '.join(ignored)}." if ignored else ""
    return f"The database cannot be used: {mask_dsn(dsn) if dsn else 'embedded'}. {reason}{hint}"


@asynccontextmanager
async def _explaining_errors(services: Services) -> AsyncIterator[None]:
    try:
        yield
    except ValidationFailed as error:
        named = (f"{each.pointer.removeprefix('/')}: {each.detail}" for each in error.errors)
        raise click.UsageError(" ".join(named)) from None
    except DatabaseUnavailable as error:
        raise click.ClickException(await _explain_unavailable(services, error)) from error
    except OutcomeUnknown:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # Ctrl-C during COMMIT
            raise asyncio.CancelledError from None
        raise


async def _explain_unavailable(services: Services, error: DatabaseUnavailable) -> str:
    """Return what is wrong now, or else what was wrong with the statement that failed."""
    try:
        status = THIS_RELEASE.classify(await read_schema_state(services.background_engine))
        reason = explain(error)
    except DATABASE_ERRORS as current:
        status, reason = SchemaStatus.SERVED, explain(current)
    if status in (SchemaStatus.BEHIND, SchemaStatus.UNMIGRATED):
        return "The schema is missing or old: run `database migrate` first."
    if status is SchemaStatus.AHEAD:
        return "The schema no longer serves this release: use a newer one."
    return _unusable(services.settings.database.dsn, reason or "Its log says why.")
