"""Start the server: the embedded PostgreSQL comes up while the application is imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import click
import structlog

from service.embedded.binaries import EmbeddedUnavailable
from service.embedded.server import EmbeddedPostgres
from service.observability.logging import configure_server_logs
from service.server.gc import gc_paused
from settings import Settings, get_settings
from settings.libpq import discard_libpq_variables

WATCH_INTERVAL_S = 1.0
_log = structlog.get_logger("rollcall")


@click.command()
def serve() -> None:
    """Serve the API until SIGTERM or Ctrl-C; then finish what is in flight."""
    settings = get_settings()
    configure_server_logs(settings)
    if (ignored := discard_libpq_variables()) and settings.database.dsn is not None:
        _log.warning("libpq_variables_ignored", names=ignored)
    with _starting_database(settings) as wait_for_dsn:
        with gc_paused():
            from service.server.serving import run  # while PostgreSQL starts (ADR 14)
        run(settings, wait_for_dsn())


@contextmanager
def _starting_database(settings: Settings) -> Iterator[Callable[[], str]]:
    """Yield a function that waits for the database and returns its DSN; stop an embedded one afterwards."""
    dsn = settings.database.dsn
    if dsn is not None:
        yield lambda: dsn
        return
    postgres = EmbeddedPostgres(settings.database.embedded_dir)
    postgres.start(wait=False)
    is_stopping = Event()
    watchdog = Thread(target=_watch_database, args=(postgres, is_stopping), name="database", daemon=True)

    def wait_for_dsn() -> str:
        postgres.start()
        watchdog.start()
        return postgres.dsn

    try:
        yield wait_for_dsn
    finally:
        is_stopping.set()
        if watchdog.is_alive():
            watchdog.join()
        postgres.stop()


def _watch_database(postgres: EmbeddedPostgres, is_stopping: Event) -> None:
    """Restart the embedded database whenever it has died."""
    while not is_stopping.wait(WATCH_INTERVAL_S):
        try:
            postgres.restart_if_dead()
        except EmbeddedUnavailable as error:
            _log.warning("embedded_database_unavailable", reason=str(error))
