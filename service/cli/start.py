"""The start of the server: PostgreSQL, if it is ours, comes up while the application is imported."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from service.cli.loading import for_good, load
from service.cli.logs import configure_server_logs
from service.db.embedded import EmbeddedPostgres
from settings import Settings, get_settings


@click.command()
def serve() -> None:
    """Serve the API until SIGTERM or Ctrl-C; then finish what is in flight."""
    settings = get_settings()
    tell_request = configure_server_logs(settings)
    with _terminable(), _database_coming_up(settings) as dsn_when_up:
        with for_good():
            run = load("service.cli.serve", "run")
        run(settings, dsn_when_up(), tell_request)


@contextmanager
def _database_coming_up(settings: Settings) -> Iterator[Callable[[], str]]:
    """Give what waits for the database and then tells its DSN; the embedded one stops with the block."""
    dsn = settings.database.dsn
    if dsn is not None:
        yield lambda: dsn
        return
    postgres = EmbeddedPostgres(settings.database.embedded_dir)
    postgres.start(wait=False)

    def dsn_when_up() -> str:
        postgres.start()
        return postgres.dsn

    try:
        yield dsn_when_up
    finally:
        postgres.stop()


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
