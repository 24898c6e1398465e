"""Checks of the database, its schema and its read replica."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from service.cli.doctor.findings import Finding, problem, warning
from service.cli.doctor.secrets import check_secrets
from service.db.core.connect_errors import explain
from service.db.core.replica import Replica
from service.db.core.server import OLDEST_VERSION
from service.db.diagnostics import Facts, inspect, list_drift, system_identifier
from service.db.migrations.compatibility import THIS_RELEASE, SchemaStatus
from service.db.migrations.history import list_revisions
from service.services import BACKGROUND_CONNECTIONS, Services
from settings import Settings

_MAX_CLOCK_DIFFERENCE: Final = timedelta(seconds=5)
_TESTED_VERSION: Final = 18
_REPLICA_URL: Final = "ROLLCALL_DATABASE__REPLICA_URL"
_GRANT: Final = (
    "As the owner, run: ROLLCALL_MIGRATIONS__SERVING_ROLE={role} python -m service database migrate"
)
_CURES: Final = {
    SchemaStatus.BEHIND: "Run: python -m service database migrate",
    SchemaStatus.UNMIGRATED: "Run: python -m service database migrate",
    SchemaStatus.AHEAD: "The schema no longer serves this release: deploy a newer one.",
    SchemaStatus.UNKNOWN: "This is another application's database, or a later release's: check DATABASE_URL.",
}


async def check_database(services: Services) -> list[Finding]:
    """Check the database and its schema, or return why it cannot be reached."""
    dsn, engine = services.settings.database.masked_dsn, services.background_engine
    try:
        facts = await inspect(engine)
    except Exception as error:
        if (reason := explain(error)) is None:
            raise
        return [problem("connection", dsn, reason)]
    findings = [Finding("connection", f"{dsn} as {facts.role}"), *check_facts(facts, services.settings)]
    if facts.schema.revision == list_revisions()[-1].id:
        findings += _check_drift(await list_drift(engine))
        findings += await check_secrets(services) if not facts.denied_tables else ()
    if services.replica is not None:
        findings += await check_replica(services, services.replica)
    return findings


async def check_replica(services: Services, replica: Replica) -> list[Finding]:
    """Check the read replica; while it fails, the primary serves its reads."""
    dsn = services.settings.database.masked_replica_dsn
    try:
        facts = await inspect(replica.engine)
        primary_id = await system_identifier(services.background_engine)
        is_ours = await system_identifier(replica.engine) == primary_id
    except Exception as error:
        if (reason := explain(error, _REPLICA_URL)) is None:
            raise
        return [warning("read replica", f"{dsn}: the primary serves all reads.", reason)]
    found = _check_standby(facts, dsn, is_ours)
    return [*found, *_check_encryption(facts, services.settings.database.replica_dsn, _REPLICA_URL)]


def check_facts(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """Check what the database reported about itself."""
    yield from _check_server(facts)
    yield from _check_encryption(facts, settings.database.dsn, "DATABASE_URL")
    yield from _check_leftovers(facts)
    yield _check_connections(facts, settings)
    yield from _check_privileges(facts, settings)
    yield from _check_schema(facts)


def _check_standby(facts: Facts, dsn: str, is_ours: bool) -> Iterator[Finding]:
    if facts.is_standby and is_ours:
        yield Finding("read replica", f"{dsn} as {facts.role}")
    else:
        seen = "belongs to another database." if facts.is_standby else "is not a standby."
        yield problem("read replica", f"{dsn} {seen}", f"Point {_REPLICA_URL} at a standby of this database.")


def _check_encryption(facts: Facts, dsn: str | None, url: str) -> Iterator[Finding]:
    """Check that the connection is encrypted, to a server whose identity was verified.

    Source: OWASP ASVS 5.0 12.3.1, 12.3.2.
    """
    if facts.is_local or dsn is None:
        return
    cure = f"Add sslmode=verify-full to {url}; sslrootcert names the file of the server's authority."
    if not facts.is_encrypted:
        yield warning("encryption", f"The connection of {url} is not encrypted.", cure)
    elif "sslmode=verify-full" not in dsn:
        yield warning("encryption", f"Anybody in between may answer {url}: nothing is verified.", cure)


def _check_leftovers(facts: Facts) -> Iterator[Finding]:
    if facts.scratch_databases:
        cure = "If no rehearsal or check runs now: " + " ".join(
            f'DROP DATABASE "{name}";' for name in facts.scratch_databases
        )
        yield warning("leftovers", f"Copies of a rehearsal: {', '.join(facts.scratch_databases)}", cure)


def _check_version(facts: Facts) -> Finding:
    version = f"PostgreSQL {facts.version}"
    if facts.version < OLDEST_VERSION:
        return problem("version", version, f"Use PostgreSQL {OLDEST_VERSION} or newer.")
    if facts.version < _TESTED_VERSION:
        return warning("version", version, f"Tested with {_TESTED_VERSION}: upgrade to it.")
    return Finding("version", version)


def _check_server(facts: Facts) -> Iterator[Finding]:
    yield _check_version(facts)
    if facts.is_standby:
        cure = "Point DATABASE_URL at the primary."
        yield problem("role", "This is a standby: it accepts no writes.", cure)
    if facts.encoding != "UTF8":
        yield problem("encoding", facts.encoding, "Create the database again with ENCODING 'UTF8'.")
    if not facts.is_durable:
        cure = "Set fsync, full_page_writes and synchronous_commit to on."
        yield problem("durability", "Acknowledged writes can be lost in a crash.", cure)
    yield from _check_clock(facts)


def _check_clock(facts: Facts) -> Iterator[Finding]:
    difference = abs(facts.clock - datetime.now(UTC))
    if difference > _MAX_CLOCK_DIFFERENCE:
        seen = f"The clocks of this machine and the database differ by {difference.total_seconds():.0f} s."
        yield warning("clock", seen, "Synchronise both with a time server.")


def _check_connections(facts: Facts, settings: Settings) -> Finding:
    needed = settings.http.workers * (settings.database.pool_size + BACKGROUND_CONNECTIONS)
    if needed <= facts.connection_limit:
        return Finding("connections", f"At most {needed} of {facts.connection_limit} per replica")
    return warning(
        "connections",
        f"This process alone may open {needed} of {facts.connection_limit}.",
        "Raise max_connections, lower ROLLCALL_DATABASE__POOL_SIZE, or use PgBouncer.",
    )


def _check_privileges(facts: Facts, settings: Settings) -> Iterator[Finding]:
    grant = _GRANT.format(role=facts.role)
    if facts.denied_tables:
        yield problem("privileges", f"Denied: {', '.join(facts.denied_tables)}", grant)
    if not facts.may_purge_events:
        yield problem("privileges", f"{facts.role} cannot delete old events, so they stay for ever.", grant)
    if settings.database.dsn is not None:
        yield from _check_excess(facts, grant)


def _check_excess(facts: Facts, grant: str) -> Iterator[Finding]:
    """Check for privileges that serving does not need."""
    if facts.public_tables:
        cure = "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;"
        yield problem("privileges", f"Every role may use {', '.join(facts.public_tables)}", cure)
    if facts.is_superuser:
        yield warning("privileges", f"{facts.role} is a superuser.", "Serve with a role of its own.")
    elif facts.may_create:
        cure = "Serve with a role that only reads and writes; migrate with the owner (docs/operations.md)."
        yield warning("privileges", f"{facts.role} may change the schema.", cure)
    elif facts.may_change_events:
        yield warning("privileges", f"{facts.role} may change and delete events.", grant)


def _check_schema(facts: Facts) -> Iterator[Finding]:
    status, head = THIS_RELEASE.classify(facts.schema), list_revisions()[-1].id
    if status is not SchemaStatus.SERVED:
        yield problem("schema", str(facts.schema), _CURES[status])
    elif facts.schema.revision != head:
        yield warning("schema", f"{facts.schema}; head is {head}", _CURES[SchemaStatus.BEHIND])
    else:
        yield Finding("schema", f"{facts.schema} (head)")
    if facts.invalid_indexes:
        cure = "An interrupted build: run database migrate, or REINDEX INDEX CONCURRENTLY each."
        yield problem("indexes", f"Invalid: {', '.join(facts.invalid_indexes)}", cure)


def _check_drift(differences: list[str]) -> Iterator[Finding]:
    if not differences:
        yield Finding("drift", "The schema is as declared.")
    for difference in differences:
        cure = "The schema was changed by hand: undo that, or put it into a revision."
        yield problem("drift", f"Missing change: {difference}", cure)
