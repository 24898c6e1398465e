"""The doctor: looks at settings, machine and database, and tells what to mend and how."""

import os
import platform
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import click

from service import __version__
from service.app import BACKGROUND_CONNECTIONS, Service
from service.cli.output import json_option, show_json, show_table
from service.db.core.replica import Replica
from service.db.diagnostics import Facts, explain_error, inspect, list_drift, system_identifier
from service.db.migrations.compatibility import THIS_RELEASE, SchemaStatus
from service.db.migrations.history import list_revisions
from service.observability.logging import configure_logs
from service.security.hashing.hasher import default_workers
from service.security.hashing.system_limits import available_cores, memory_limit_bytes
from service.services import database_of, with_service
from settings import Settings, get_settings

_MIB = 1024 * 1024
_BASE_MIB = 110
"""What a worker process takes before it hashes anything."""
_CLOCK_MAY_DIFFER = timedelta(seconds=5)
_TRIED_VERSION = 18
_REPLICA_URL = "ROLLCALL_DATABASE__REPLICA_URL"


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was seen, and what to do about it."""

    check: str
    seen: str
    cure: str = ""
    level: Level = Level.OK


def _warning(check: str, seen: str, cure: str) -> Finding:
    return Finding(check, seen, cure, Level.WARNING)


def _problem(check: str, seen: str, cure: str) -> Finding:
    return Finding(check, seen, cure, Level.PROBLEM)


@click.command()
@json_option
def doctor(is_json: bool) -> None:
    """Examine settings, machine, database and schema; change nothing.

    The exit status is 1 when there is a problem; warnings alone leave it at 0.
    """
    settings = get_settings()
    configure_logs(settings, is_command=True)
    findings = [*check_settings(settings), *check_machine(settings)]
    with database_of(settings) as dsn:
        findings += with_service(settings, dsn, check_database)
    if is_json:
        show_json(*({"check": f.check, "level": f.level, "seen": f.seen, "cure": f.cure} for f in findings))
    else:
        show_table(("", "check", "seen", "cure"), [(f.level, f.check, f.seen, f.cure) for f in findings])
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise click.exceptions.Exit(1)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Look at what was chosen; what is plainly wrong was refused before."""
    yield Finding("release", f"Rollcall {__version__}, Python {platform.python_version()}")
    if settings.profile == "test":
        yield _warning("profile", "test: password hashes are cheap", "Unset ROLLCALL_PROFILE.")
    http = settings.http
    if not http.is_loopback and not http.trusted_proxies:
        yield _warning(
            "proxies",
            "No proxy is trusted: behind one, all clients count as one network in the throttle.",
            "Set ROLLCALL_HTTP__TRUSTED_PROXIES if there is a proxy.",
        )
    if not http.is_loopback and settings.metrics.enabled and settings.metrics.port is None:
        yield _warning("metrics", "/metrics is as public as the API.", "Set ROLLCALL_METRICS__PORT.")
    secrets = Path(".env")
    if secrets.is_file() and secrets.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield _warning("permissions", ".env can be read by others on this machine.", "chmod 600 .env")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Look at cores and memory, and whether hashing fits into them."""
    memory, cores = memory_limit_bytes(), available_cores()
    chosen, processes = settings.passwords, settings.http.workers
    threads = chosen.workers or default_workers(chosen.memory_kib, cores, memory)
    needed_mib = processes * (_BASE_MIB + threads * chosen.memory_kib // 1024)
    seen = (
        f"{processes} × {threads} hashes of {chosen.memory_kib // 1024} MiB at once: {needed_mib} MiB in all"
    )
    if memory is None:
        yield Finding("memory", f"{seen}; the machine does not tell how much it has")
    elif needed_mib * _MIB > memory:
        cure = "Lower ROLLCALL_HTTP__WORKERS or ROLLCALL_PASSWORDS__WORKERS, or give it more memory."
        yield _problem("memory", f"{seen} of {memory // _MIB}", cure)
    else:
        yield Finding("memory", f"{seen} of {memory // _MIB}")
    if processes > cores:
        yield _warning("cores", f"{processes} workers on {cores} cores", "Lower ROLLCALL_HTTP__WORKERS.")
    else:
        yield Finding("cores", str(cores))
    if sys.platform == "linux" and os.geteuid() == 0:
        yield _warning("user", "This runs as root.", "Run it as an ordinary user.")


async def check_database(service: Service) -> list[Finding]:
    """Look at the database and its schema, or tell why it cannot be reached."""
    where, engine = service.settings.database.masked_dsn, service.background_engine
    try:
        facts = await inspect(engine)
    except Exception as error:
        if (reason := explain_error(error)) is None:
            raise
        return [_problem("connection", where, reason)]
    findings = [Finding("connection", f"{where} as {facts.role}"), *check_facts(facts, service.settings)]
    if facts.schema.revision == list_revisions()[-1].id:
        findings += _check_drift(await list_drift(engine))
    if service.replica is not None:
        findings += await check_replica(service, service.replica)
    return findings


async def check_replica(service: Service, replica: Replica) -> list[Finding]:
    """Look at the read replica; as long as it is of no use, the primary answers."""
    where = service.settings.database.masked_replica_dsn
    try:
        facts = await inspect(replica.engine)
        is_ours = await system_identifier(replica.engine) == await system_identifier(
            service.background_engine
        )
    except Exception as error:
        if (reason := explain_error(error)) is None:
            raise
        cure = reason.replace("DATABASE_URL", _REPLICA_URL)
        return [_warning("read replica", f"{where}: the primary answers all reads.", cure)]
    return list(_check_standby(facts, where, is_ours))


def _check_standby(facts: Facts, where: str, is_ours: bool) -> Iterator[Finding]:
    if not (facts.is_standby and is_ours):
        seen = "is that of another database." if facts.is_standby else "is no standby."
        yield _problem(
            "read replica", f"{where} {seen}", f"Point {_REPLICA_URL} at a standby of this database."
        )
    else:
        yield Finding("read replica", f"{where} as {facts.role}")
    if not (facts.is_encrypted or facts.is_local):
        cure = f"Add sslmode=verify-full to {_REPLICA_URL}."
        yield _warning("encryption", "The connection to the read replica is not encrypted.", cure)


def check_facts(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """Look at what the database told of itself."""
    yield from _check_server(facts, settings)
    yield from _check_rights(facts, settings)
    yield from _check_schema(facts)


def _check_server(facts: Facts, settings: Settings) -> Iterator[Finding]:
    if facts.version < _TRIED_VERSION:
        yield _warning(
            "version", f"PostgreSQL {facts.version}", f"Tried with {_TRIED_VERSION}: upgrade to it."
        )
    else:
        yield Finding("version", f"PostgreSQL {facts.version}")
    if facts.is_standby:
        yield _problem("role", "This is a standby: it takes no writes.", "Point DATABASE_URL at the primary.")
    if facts.encoding != "UTF8":
        yield _problem("encoding", facts.encoding, "Create the database anew with ENCODING 'UTF8'.")
    if not facts.is_durable:
        cure = "Set fsync, full_page_writes and synchronous_commit to on."
        yield _problem("durability", "What was acknowledged can be lost in a crash.", cure)
    if not (facts.is_encrypted or facts.is_local):
        yield _warning(
            "encryption", "The connection is not encrypted.", "Add sslmode=verify-full to DATABASE_URL."
        )
    apart = abs(facts.clock - datetime.now(UTC))
    if apart > _CLOCK_MAY_DIFFER:
        seen = f"This machine and the database are {apart.total_seconds():.0f} s apart."
        yield _warning("clock", seen, "Let both follow a time server.")
    needed = settings.http.workers * (settings.database.pool_size + BACKGROUND_CONNECTIONS)
    if needed > facts.connection_limit:
        yield _warning(
            "connections",
            f"This process alone may open {needed} of {facts.connection_limit}.",
            "Raise max_connections, lower ROLLCALL_DATABASE__POOL_SIZE, or put PgBouncer in between.",
        )
    else:
        yield Finding("connections", f"At most {needed} of {facts.connection_limit} a replica")


def _check_rights(facts: Facts, settings: Settings) -> Iterator[Finding]:
    if facts.denied_tables:
        cure = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {facts.role};"
        yield _problem("privileges", f"Denied: {', '.join(facts.denied_tables)}", cure)
    if settings.database.dsn is None:
        return
    if facts.public_tables:
        cure = "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;"
        yield _problem("privileges", f"Every role may use {', '.join(facts.public_tables)}", cure)
    if facts.is_superuser:
        yield _warning("privileges", f"{facts.role} is a superuser.", "Serve with a role of its own.")
    elif facts.may_create:
        cure = "Serve with a role that only reads and writes; migrate with the owner (docs/operations.md)."
        yield _warning("privileges", f"{facts.role} may change the schema.", cure)


_CURES = {
    SchemaStatus.BEHIND: "Run: python -m service database migrate",
    SchemaStatus.UNMIGRATED: "Run: python -m service database migrate",
    SchemaStatus.AHEAD: "The schema no longer serves this release: deploy a newer one.",
    SchemaStatus.UNKNOWN: "This is another application's database, or a later release's: check DATABASE_URL.",
}


def _check_schema(facts: Facts) -> Iterator[Finding]:
    status, head = THIS_RELEASE.classify(facts.schema), list_revisions()[-1].id
    if status is not SchemaStatus.SERVED:
        yield _problem("schema", str(facts.schema), _CURES[status])
    elif facts.schema.revision != head:
        yield _warning("schema", f"{facts.schema}; head is {head}", _CURES[SchemaStatus.BEHIND])
    else:
        yield Finding("schema", f"{facts.schema} (head)")
    if facts.invalid_indexes:
        cure = "An interrupted build: run database migrate, or REINDEX INDEX CONCURRENTLY each."
        yield _problem("indexes", f"Invalid: {', '.join(facts.invalid_indexes)}", cure)


def _check_drift(differences: list[str]) -> Iterator[Finding]:
    if not differences:
        yield Finding("drift", "The schema is as declared.")
    for difference in differences:
        cure = "Somebody changed the schema by hand: undo that, or bring it into a revision."
        yield _problem("drift", f"It would take: {difference}", cure)
