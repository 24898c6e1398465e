"""Guards of parked tables: what was revoked meanwhile stays revoked, and what has expired is deleted.

They are functions in the parked schema, because the release that serves meanwhile may not know the table.
They run with the rights of the role that migrates.
"""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from collections.abc import Iterator

_EXPIRED_BATCH = 10_000
_HARMLESS = "ARRAY['name', 'login_id', 'created_at', 'updated_at', 'last_login_at']"
"""The columns of users whose change ends no credentials; that of a column unknown here does."""


def names(table: str) -> tuple[str, ...]:
    """Return the names that the guards of a table can have."""
    return f"revoke {table}", f"erase {table}", f"expire {table}"


def creation(
    schema: str, table: str, credentials_of: str | None, mentions: str | None, expired: str | None
) -> Iterator[str]:
    """Yield the statements that guard a parked table; see `parking.park_table`."""
    revoke, erase, expire = (f'{schema}."{name}"' for name in names(table))
    parked = f'{schema}."{table}"'
    if credentials_of is not None:
        yield _function(
            f"{revoke}() RETURNS trigger",
            "IF current_setting('rollcall.migrating', true) IS DISTINCT FROM 'on'"
            f" AND to_jsonb(NEW) - {_HARMLESS} IS DISTINCT FROM to_jsonb(OLD) - {_HARMLESS}"
            f' THEN DELETE FROM {parked} WHERE "{credentials_of}" = NEW.id; END IF; RETURN NULL;',
        )
        yield (
            f'CREATE TRIGGER "revoke {table}" AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION {revoke}()'
        )
    if mentions is not None:
        yield _function(
            f"{erase}() RETURNS trigger",
            f"DELETE FROM {parked} WHERE position(OLD.id::text IN {mentions}) > 0; RETURN NULL;",
        )
        yield f'CREATE TRIGGER "erase {table}" AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION {erase}()'
    if expired is not None:
        yield f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC"  # to call it; the tables keep their own rights
        batch = f"SELECT ctid FROM {parked} WHERE {expired} LIMIT {_EXPIRED_BATCH}"
        yield _function(
            f"{expire}() RETURNS void", f"DELETE FROM {parked} WHERE ctid = ANY (ARRAY({batch}));"
        )


def _function(head: str, body: str) -> str:
    return (
        f"CREATE FUNCTION {head} LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog"
        f" AS $$ BEGIN {body} END $$"
    )
