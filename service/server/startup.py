"""The start of the server: PostgreSQL, if it is ours, comes up while the application is imported."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType

import click
import structlog

from service.embedded.binaries import EmbeddedUnavailable
from service.embedded.server import EmbeddedPostgres
from service.loading import gc_paused, load
from service.observability.logging import configure_server_logs
from settings import Settings, get_settings

LOOK_EVERY_S = 1.0
_log = structlog.get_logger("rollcall")


@click.command()
def serve() -> None:
    """Serve the API until SIGTERM or Ctrl-C; then finish what is in flight."""
    settings = get_settings()
    access_log = configure_server_logs(settings)
    with _terminable(), _database_coming_up(settings) as dsn_when_up:
        with gc_paused():
            run = load("service.server.serving", "run")
        run(settings, dsn_when_up(), access_log)


@contextmanager
def _database_coming_up(settings: Settings) -> Iterator[Callable[[], str]]:
    """Give what waits for the database and then tells its DSN; the embedded one stops with the block."""
    dsn = settings.database.dsn
    if dsn is not None:
        yield lambda: dsn
        return
    postgres = EmbeddedPostgres(settings.database.embedded_dir)
    postgres.start(wait=False)
    is_over = Event()
    keeper = Thread(target=_watch_database, args=(postgres, is_over), name="database", daemon=True)

    def dsn_when_up() -> str:
        postgres.start()
        keeper.start()
        return postgres.dsn

    try:
        yield dsn_when_up
    finally:
        is_over.set()
        if keeper.is_alive():
            keeper.join()
        postgres.stop()


def _watch_database(postgres: EmbeddedPostgres, is_over: Event) -> None:
    """Bring the database back whenever it has died, as nobody else looks after an embedded one."""
    while not is_over.wait(LOOK_EVERY_S):
        try:
            postgres.restart_if_dead()
        except EmbeddedUnavailable as error:
            _log.warning("embedded_database_unavailable", reason=str(error))


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the block like Ctrl-C, so that an embedded database is never left running."""

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        # Inside asyncio Ctrl-C has a handler that waits for a safe moment: elsewhere an exception may fall
        # between the taking of a lock and the block that gives it back.
        of_ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(of_ctrl_c):
            raise KeyboardInterrupt
        of_ctrl_c(signal.SIGINT, frame)

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
