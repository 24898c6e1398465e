"""A snapshot of a database, restored in one round trip."""

from rollcall_testkit.postgres import DEADLOCK, Postgres, PostgresError

_SCHEMA = "testkit"
_MAX_ATTEMPTS = 5
# Referenced tables first: their DELETE waits for requests in flight, whose rows are then removed as well.
_TABLES = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
ORDER BY oid NOT IN (SELECT confrelid FROM pg_constraint), relname
"""


class Snapshot:
    """All rows of all tables but the schema's revision, as they are now.

    The connection must ignore foreign keys and triggers (`session_replication_role = replica`). `then` is SQL
    that runs after each restoring, in the same transaction.
    """

    def __init__(self, postgres: Postgres, *, then: str = "SELECT 1") -> None:
        self._postgres = postgres
        tables = [name for (name,) in postgres.run(_TABLES)]
        copies = [f"CREATE TABLE {_SCHEMA}.{name} AS TABLE public.{name}" for name in tables]
        postgres.run("; ".join([f"CREATE SCHEMA {_SCHEMA}", *copies]))
        self._restore = "; ".join([*map(_delete_all, tables), *map(_insert_saved, tables), then])

    def restore(self) -> None:
        """Restore every row.

        Uses DELETE, because TRUNCATE takes tens of times as long on tables with a few rows.
        Raises: PostgresError.
        """
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                self._postgres.run(self._restore)
            except PostgresError as error:
                # A request of the previous test may still be in flight, and lock in another order.
                if error.sqlstate != DEADLOCK or attempt == _MAX_ATTEMPTS:
                    raise
            else:
                return


def _delete_all(table: str) -> str:
    return f"DELETE FROM public.{table}"  # noqa: S608 - a quoted name from the catalogue


def _insert_saved(table: str) -> str:
    # The service may add rows meanwhile, such as its heartbeat.
    return f"INSERT INTO public.{table} SELECT * FROM {_SCHEMA}.{table} ON CONFLICT DO NOTHING"  # noqa: S608
