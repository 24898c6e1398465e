"""The rights of the role that serves: it reads and writes rows, but changes no schema and no recorded event.

Source: OWASP ASVS 5.0 13.2.2 (least privilege), 16.4.2 (logs cannot be modified).
"""

from typing import Final

from alembic.util import CommandError
from sqlalchemy import Connection, text

from service.db.tables import Base

READ_AND_WRITE: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
LIMITED: Final = {
    "alembic_version": ("SELECT",),
    "events": ("SELECT", "INSERT"),
    "throttle_keys": ("SELECT", "INSERT"),
}
"""The tables on which it has fewer rights."""

_TABLES: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(name) IS NOT NULL"
)
_WHERE: Final = text("SELECT current_user, quote_ident(current_schema())")
_PURGE: Final = "purge_events(interval, integer)"
# It runs with the rights of its owner, so tables are qualified and temporary objects come last.
_CREATE_PURGE: Final = """
CREATE OR REPLACE FUNCTION purge_events(age interval, batch integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    IF age < interval '30 days' THEN
        RAISE insufficient_privilege USING MESSAGE = 'events are kept for at least 30 days';
    END IF;
    DELETE FROM {schema}.events WHERE id IN (
        SELECT id FROM {schema}.events WHERE at < now() - age ORDER BY at LIMIT batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$
"""


def rights_on(table: str) -> tuple[str, ...]:
    """Return what the role that serves may do with a table."""
    return LIMITED.get(table, READ_AND_WRITE)


def grant(connection: Connection, role: str) -> None:
    """Grant a role what serving needs in the present schema, and revoke what it must not have.

    It cannot delete events; a function of their owner deletes old ones for it.

    Raises:
        alembic.util.CommandError: the role owns the schema, so that no right can be taken from it.
        sqlalchemy.exc.DBAPIError: there is no such role, or the tables belong to another one.
    """
    owner, schema = connection.execute(_WHERE).one()
    if owner == role:
        raise CommandError(f"{role} migrates, so it cannot be limited: serve with another role")
    names = sorted([*Base.metadata.tables, *LIMITED.keys() - Base.metadata.tables.keys()])
    tables = list(connection.scalars(_TABLES, {"names": names}))
    for statement in grant_statements(role, tables, schema):
        connection.exec_driver_sql(statement)


def grant_statements(role: str, tables: list[str], schema: str = "public") -> list[str]:
    """Return the statements that give a role its rights on tables, and no others on the limited ones."""
    revoked = [f'REVOKE ALL ON {table} FROM "{role}"' for table in tables if table in LIMITED]
    granted = [f'GRANT {", ".join(rights_on(table))} ON {table} TO "{role}"' for table in tables]
    if "events" not in tables:
        return [*revoked, *granted]
    return [
        *revoked,
        *granted,
        _CREATE_PURGE.format(schema=schema).strip(),
        f"REVOKE ALL ON FUNCTION {_PURGE} FROM PUBLIC",
        f'GRANT EXECUTE ON FUNCTION {_PURGE} TO "{role}"',
    ]
