"""The service process: started, awaited, reset between tests, stopped."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollcall_testkit.checkout import Checkout
from rollcall_testkit.client import ApiKey, Rollcall, User, log_in
from rollcall_testkit.errors import RollcallUnavailable
from rollcall_testkit.http import send
from rollcall_testkit.mailbox import Mailbox
from rollcall_testkit.postgres import Postgres
from rollcall_testkit.snapshot import Snapshot
from rollcall_testkit.template_cluster import ROOT_LOGIN_ID, ROOT_PASSWORD, clone

_START_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.01
_LOG_TAIL_LINES = 20
RENEW_SESSIONS = """
UPDATE public.sessions SET created_at = now(), last_used_at = now(),
expires_at = expires_at + (now() - created_at), idle_expires_at = idle_expires_at + (now() - created_at)
"""
"""Each test starts right after the login of `root`, however long the run takes."""
_MAILS_TIMEOUT_S = 5.0
_DROP_MAILS = """
DELETE FROM public.mail_requests;
DELETE FROM public.outbox WHERE locked_until IS NULL;
SELECT id FROM public.outbox WHERE locked_until > now()
"""
"""Drop what waits, and return what is being sent: a mail of the previous test must not come later."""
_WATCHDOG = Path(__file__).with_name("watchdog.py")


@dataclass(frozen=True)
class RollcallServer:
    """A running service on loopback, on a database of its own, for these tests only.

    `root` and `key` (with every scope) exist from the start; each reset restores them.
    """

    url: str
    root: User
    key: ApiKey
    log: Path
    """The output of the service."""
    mailbox: Mailbox
    """The mails that the service has sent."""
    _connection: Postgres
    _snapshot: Snapshot

    def reset(self) -> None:
        """Restore the database as it was at the start; the fixture `rollcall` does so before each test."""
        ends_at = time.monotonic() + _MAILS_TIMEOUT_S
        while self._connection.run(_DROP_MAILS) and time.monotonic() < ends_at:
            time.sleep(_POLL_INTERVAL_S)
        self._snapshot.restore()
        self.mailbox.clear()


@contextmanager
def serving(
    checkout: Checkout, settings: Mapping[str, str], *, directory: Path, cache: Path
) -> Iterator[RollcallServer]:
    """Run the service until the block or pytest ends; its log stays in the directory.

    Raises: RollcallUnavailable.
    """
    postgres, log = directory / "postgres", directory / "service.log"
    clone(checkout, cache, postgres)
    with _reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        address = {"ROLLCALL_HTTP__HOST": "127.0.0.1", "ROLLCALL_HTTP__PORT": str(port)}
        chosen = {"ROLLCALL_PUBLIC_URL": url, **settings, **address}
        with _process(checkout, chosen, postgres, log) as process:
            _wait_until_ready(url, process, log)
            with _seeded(url, postgres, log) as server:
                yield server


@contextmanager
def _seeded(url: str, postgres: Path, log: Path) -> Iterator[RollcallServer]:
    """Create what every test starts with, and take the snapshot."""
    root = _root_of(url)
    key = Rollcall(url, root).key(name="testkit")
    directory = (postgres / "socket").readlink()
    parameters = {"user": "rollcall", "database": "rollcall", "session_replication_role": "replica"}
    with closing(Postgres(directory, **parameters)) as connection:
        mailbox = Mailbox(postgres / "mail")
        snapshot = Snapshot(connection, then=RENEW_SESSIONS)
        yield RollcallServer(url, root, key, log, mailbox, connection, snapshot)


def _root_of(url: str) -> User:
    """Log in as `root`, with an authenticator app if the settings demand a second factor."""
    root = log_in(url, ROOT_LOGIN_ID, ROOT_PASSWORD)
    rollcall = Rollcall(url, root)
    is_limited = rollcall.request("GET", "/v1/keys", by=root).status == 403
    return rollcall.enroll_totp(root) if is_limited else root


@contextmanager
def _reserved_port() -> Iterator[int]:
    """Reserve a port of loopback during the block."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind(("127.0.0.1", 0))
        port: int = reserving.getsockname()[1]
        if sys.platform != "linux":  # elsewhere a bound port cannot be bound again
            reserving.close()
        yield port


@contextmanager
def _process(
    checkout: Checkout, settings: Mapping[str, str], postgres: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service under the watchdog, in its own session: Ctrl-C stops the tests before the service."""
    empty = postgres / "empty"
    empty.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the kit's own command
            [sys.executable, "-I", "-S", str(_WATCHDOG), str(postgres), *checkout.command("serve")],
            cwd=empty,
            env=checkout.environment(postgres, empty, settings),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    with process:  # closes its standard input and waits for its end
        yield process


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + _START_TIMEOUT_S
    while not _is_ready(url):
        if process.poll() is not None:
            raise RollcallUnavailable(_with_log_tail("Rollcall does not start", log))
        if time.monotonic() > ends_at:
            reason = f"Rollcall is not ready after {_START_TIMEOUT_S:.0f} s"
            raise RollcallUnavailable(_with_log_tail(reason, log))
        time.sleep(_POLL_INTERVAL_S)


def _is_ready(url: str) -> bool:
    try:
        return send(url, "GET", "/health/ready").status == 200
    except OSError:
        return False


def _with_log_tail(message: str, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "".join(f"\n  {line}" for line in lines[-_LOG_TAIL_LINES:])
    return f"{message}: {lines[-1] if lines else 'its log is empty'}\nFrom {log}:{tail}"
