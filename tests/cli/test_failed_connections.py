"""Every command says in one line why the database cannot be used, and what to do."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from structlog.testing import capture_logs

from harness.service_process import environment
from service.cli import main
from settings import get_settings
from settings.libpq import discard_libpq_variables
from tests.cli.conftest import LOGGING
from tests.support.fake_postgres import fake_postgres

POOLER = "unsupported startup parameter: statement_timeout"
COMMANDS = (
    "users list",
    "users create ada --no-password",
    "users disable ada",
    "users export",
    "keys list",
    "keys create gateway --scopes users:read",
    "doctor",
    "database status",
    "database plan",
    "database migrate",
    "database rollback",
    "database check",
    "database purge-parked --yes",
)
Command = Callable[..., tuple[int, str]]


@contextmanager
def rejecting(sqlstate: str, message: str = "") -> Iterator[int]:
    """Run a server that rejects every connection, in a thread: commands have an event loop of their own."""
    is_up, port = Event(), 0

    async def serve() -> None:
        nonlocal port
        async with fake_postgres(sqlstate, message) as port:
            is_up.set()
            await asyncio.to_thread(is_done.wait)

    is_done = Event()
    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    is_up.wait()
    try:
        yield port
    finally:
        is_done.set()
        thread.join()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this thread; return its status and all that it prints."""
    for module in LOGGING:
        monkeypatch.setattr(f"{module}.configure_logs", lambda *_, **__: None)

    def run(line: str, **variables: str) -> tuple[int, str]:
        for name, value in environment(**variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["service", *line.split()])
        get_settings.cache_clear()
        with capture_logs(), pytest.raises(SystemExit) as ended:
            main()
        get_settings.cache_clear()
        printed = capfd.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return run


@pytest.mark.parametrize("line", COMMANDS)
def test_command_with_a_wrong_password_says_so(command: Command, line: str) -> None:
    with rejecting("28P01", "password hunter2 is wrong") as port:
        status, printed = command(line, DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{port}/x")
    assert (status, printed.count("The password is wrong: check DATABASE_URL.")) == (1, 1), printed
    assert not {word for word in ("hunter2", "Failed:", "Traceback", "unknown") if word in printed}


@pytest.mark.parametrize("line", COMMANDS)
def test_command_through_an_unannounced_pooler_names_the_setting(command: Command, line: str) -> None:
    with rejecting("08P01", POOLER) as port:
        status, printed = command(line, DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{port}/x")
    assert (status, printed.count("set ROLLCALL_DATABASE__PGBOUNCER=true.")) == (1, 1), printed


def test_command_of_migrations_names_the_variable_that_holds_their_url(command: Command) -> None:
    with rejecting("28P01") as port:
        status, printed = command(
            "database status",
            DATABASE_URL="postgresql://app@db/x",
            ROLLCALL_MIGRATIONS__DATABASE_URL=f"postgresql://owner:hunter2@127.0.0.1:{port}/x",
        )
    assert status == 1
    assert f"owner:***@127.0.0.1:{port}/x. The password is wrong: check ROLLCALL_MIGRATIONS__" in printed


def test_command_names_the_variables_of_libpq_that_have_no_effect(command: Command) -> None:
    discard_libpq_variables.cache_clear()
    status, printed = command(
        "users list", DATABASE_URL="postgresql://127.0.0.1:1/x", PGHOST="db", PGSSLMODE="x"
    )
    discard_libpq_variables.cache_clear()
    assert status == 1
    assert printed.strip().endswith("Variables of libpq have no effect: PGHOST, PGSSLMODE.")
