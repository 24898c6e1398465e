"""Variables of libpq in the shell: DATABASE_URL alone says which database it is, and how to reach it."""

import os
from functools import cache

# PGPASSWORD and PGPASSFILE are kept: they supply a password that the URL does not have, and change no more.
_NAMES = frozenset({
    "PGAPPNAME", "PGCHANNELBINDING", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATABASE",
    "PGDATESTYLE", "PGGEQO", "PGGSSDELEGATION", "PGGSSENCMODE", "PGGSSLIB", "PGHOST", "PGHOSTADDR",
    "PGKRBSRVNAME", "PGLOADBALANCEHOSTS", "PGLOCALEDIR", "PGMAXPROTOCOLVERSION", "PGMINPROTOCOLVERSION",
    "PGOPTIONS", "PGPORT", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGSERVICE",
    "PGSERVICEFILE", "PGSSLCERT", "PGSSLCERTMODE", "PGSSLCOMPRESSION", "PGSSLCRL", "PGSSLCRLDIR",
    "PGSSLKEY", "PGSSLKEYLOGFILE", "PGSSLMAXPROTOCOLVERSION", "PGSSLMINPROTOCOLVERSION", "PGSSLMODE",
    "PGSSLNEGOTIATION", "PGSSLROOTCERT", "PGSSLSNI", "PGSYSCONFDIR", "PGTARGETSESSIONATTRS", "PGTZ",
    "PGUSER",
})  # fmt: skip


@cache
def discard_libpq_variables() -> tuple[str, ...]:
    """Remove libpq's variables from the environment of this process; return the names of those that were set.

    The driver would read them: PGSSLMODE would change how an address without `sslmode` is verified, PGHOST
    where an address without host leads. Later calls return the same names.
    """
    found = tuple(sorted(_NAMES & os.environ.keys()))
    for name in found:
        del os.environ[name]
    return found
