"""Facts about a database and its schema, for `doctor`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.migrations import grants
from service.db.migrations.autogenerate import COMPARISON
from service.db.migrations.compatibility import SchemaState, read_schema_state
from service.db.migrations.scratch import SCRATCH_PREFIX
from service.db.tables import Base

_FACTS = text("""
    SELECT current_setting('server_version_num')::int / 10000 AS version,
           current_user AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
           has_schema_privilege('public', 'CREATE') AS may_create,
           pg_is_in_recovery() AS is_standby,
           clock_timestamp() AS clock,
           pg_encoding_to_char(encoding) AS encoding,
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
           coalesce(inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1', true) AS is_local,
           current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
               AND current_setting('synchronous_commit') <> 'off' AS is_durable,
           coalesce(has_table_privilege(to_regclass('events'), 'DELETE'), true) OR coalesce(
               has_function_privilege(to_regprocedure('purge_events(interval, integer)'), 'EXECUTE'), false
           ) AS may_purge_events,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               AS connection_limit
      FROM pg_database WHERE datname = current_database()
""")
_SYSTEM = text("SELECT system_identifier FROM pg_control_system()")
_INVALID_INDEXES = text("""
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT i.indisvalid AND n.nspname = current_schema() ORDER BY 1
""")
_SCRATCH = text("SELECT datname FROM pg_database WHERE starts_with(datname, :prefix) ORDER BY 1")
_RIGHTS = text("""
    SELECT c.relname,
           ARRAY(SELECT p FROM unnest(CAST(:privileges AS text[])) p WHERE has_table_privilege(c.oid, p)),
           EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
      FROM pg_class c WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) name)
""")


@dataclass(frozen=True, slots=True)
class Facts:
    """What `inspect` found."""

    version: int
    role: str
    is_superuser: bool
    may_create: bool
    is_standby: bool
    clock: datetime
    encoding: str
    is_encrypted: bool
    is_local: bool
    is_durable: bool
    may_purge_events: bool
    """Whether the role may delete old events, by the function of their owner or by itself."""
    connection_limit: int
    schema: SchemaState
    invalid_indexes: tuple[str, ...]
    denied_tables: tuple[str, ...]
    """Our tables on which the role lacks rights that serving needs."""
    may_change_events: bool
    """Whether the role may change or delete what the audit trail has."""
    public_tables: tuple[str, ...]
    """Our tables that every role may use."""
    scratch_databases: tuple[str, ...]
    """Databases that a rehearsal or a check made, and may have left behind."""


async def inspect(engine: AsyncEngine) -> Facts:
    """Return facts about a database.

    Raises: any error of the driver; `connect_errors.explain` words it.
    """
    schema = await read_schema_state(engine)
    async with engine.connect() as connection:
        facts = (await connection.execute(_FACTS)).one()._asdict()
        names = {"names": list(Base.metadata.tables), "privileges": list(grants.READ_AND_WRITE)}
        rights = (await connection.execute(_RIGHTS, names)).all()
        held = {name: frozenset(privileges) for name, privileges, _ in rights}
        return Facts(
            **facts,
            schema=schema,
            invalid_indexes=tuple(await connection.scalars(_INVALID_INDEXES)),
            denied_tables=tuple(
                sorted(name for name in held if not held[name].issuperset(grants.rights_on(name)))
            ),
            may_change_events=not held.get("events", frozenset()).isdisjoint({"UPDATE", "DELETE"}),
            public_tables=tuple(sorted(name for name, _, is_public in rights if is_public)),
            scratch_databases=tuple(await connection.scalars(_SCRATCH, {"prefix": SCRATCH_PREFIX})),
        )


async def system_identifier(engine: AsyncEngine) -> int:
    """Return the identifier that a database cluster shares only with its standbys.

    Raises: any error of the driver; `connect_errors.explain` words it.
    """
    async with engine.connect() as connection:
        system: int = (await connection.execute(_SYSTEM)).scalar_one()
        return system


async def list_drift(engine: AsyncEngine) -> list[str]:
    """Return the differences between the declared tables and the schema, each as one line."""

    def compare(sync: Connection) -> list[str]:
        found = compare_metadata(MigrationContext.configure(sync, opts=COMPARISON), Base.metadata)
        return [_describe(difference) for difference in found]

    async with engine.connect() as connection:
        return await connection.run_sync(compare)


def _describe(difference: Any) -> str:
    """Return Alembic's name for the missing change, and the names of what it would change."""
    if isinstance(difference, list):
        return ", ".join(map(_describe, difference))
    kind, *about = difference
    names = (getattr(each, "name", each if isinstance(each, str) else None) for each in about)
    return f"{kind} {' '.join(name for name in names if name)}"
