"""Putting a database back to a moment, in one round trip."""

from rollcall_testkit.postgres import DEADLOCK, Postgres, PostgresError

_KEPT_IN = "testkit"
_TRIES = 5
# What others refer to comes first: requests still under way end before what they have added is removed.
_TABLES = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
ORDER BY oid NOT IN (SELECT confrelid FROM pg_constraint), relname
"""


class Snapshot:
    """All rows of all tables as they are now, but for where the schema stands.

    `postgres` has to be a connection on which neither foreign keys nor triggers are minded.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        tables = [name for (name,) in postgres.run(_TABLES)]
        copies = [f"CREATE TABLE {_KEPT_IN}.{name} AS TABLE public.{name}" for name in tables]
        postgres.run("; ".join([f"CREATE SCHEMA {_KEPT_IN}", *copies]))
        self._restoring = "; ".join([*map(_emptying, tables), *map(_filling, tables)])

    def restore(self) -> None:
        """Put everything back: what was added goes, what was changed or removed returns.

        DELETE and not TRUNCATE, which takes tens of times as long on tables of a few rows.
        Raises: PostgresError.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                self._postgres.run(self._restoring)
            except PostgresError as error:
                # A request of the test before, still under way, may lock in another order.
                if error.sqlstate != DEADLOCK or attempt == _TRIES:
                    raise
            else:
                return


def _emptying(table: str) -> str:
    return f"DELETE FROM public.{table}"  # noqa: S608 - the name is the catalogue's, and quoted


def _filling(table: str) -> str:
    # What the service adds of its own accord meanwhile, such as a heartbeat, is in nobody's way.
    return f"INSERT INTO public.{table} SELECT * FROM {_KEPT_IN}.{table} ON CONFLICT DO NOTHING"  # noqa: S608
