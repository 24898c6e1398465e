"""The service as a process of its own: started, watched until it is ready, put back, ended."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollcall_testkit.accounts import Account, ApiKey, Rollcall, log_in
from rollcall_testkit.checkout import Checkout
from rollcall_testkit.errors import RollcallUnavailable
from rollcall_testkit.http import send
from rollcall_testkit.image import ROOT_LOGIN_ID, ROOT_PASSWORD, clone
from rollcall_testkit.postgres import Postgres
from rollcall_testkit.snapshot import Snapshot

_START_TIMEOUT_S = 60.0
_POLL_S = 0.01
_SHOWN_LINES = 20
_KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(frozen=True)
class RollcallServer:
    """A running service that only these tests use, on loopback, over a database of its own.

    `root` and `key` (with every scope) are there from the start, and whole again after each reset.
    """

    url: str
    root: Account
    key: ApiKey
    log: Path
    """What the service writes."""
    _snapshot: Snapshot

    def reset(self) -> None:
        """Put the database back to where it was at the start; the fixture `rollcall` does, for each test."""
        self._snapshot.restore()


@contextmanager
def serving(
    checkout: Checkout, settings: Mapping[str, str], *, place: Path, cache: Path
) -> Iterator[RollcallServer]:
    """Run the service for as long as the block runs, or pytest lives; its log stays in `place`.

    Raises: RollcallUnavailable.
    """
    postgres, log = place / "postgres", place / "service.log"
    clone(checkout, cache, postgres)
    with _reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        chosen = {**settings, "ROLLCALL_HTTP__HOST": "127.0.0.1", "ROLLCALL_HTTP__PORT": str(port)}
        with _process(checkout, chosen, postgres, log) as process:
            _wait_until_ready(url, process, log)
            with _seeded(url, postgres, log) as server:
                yield server


@contextmanager
def _seeded(url: str, postgres: Path, log: Path) -> Iterator[RollcallServer]:
    """Make what every test finds, and remember the database as it is then."""
    root = log_in(url, ROOT_LOGIN_ID, ROOT_PASSWORD)
    key = Rollcall(url, root).key(name="testkit")
    directory = (postgres / "socket").readlink()
    who = {"user": "rollcall", "database": "rollcall", "session_replication_role": "replica"}
    with closing(Postgres(directory, **who)) as connection:
        yield RollcallServer(url, root, key, log, Snapshot(connection))


@contextmanager
def _reserved_port() -> Iterator[int]:
    """Give a port of loopback that nobody else is given meanwhile."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind(("127.0.0.1", 0))
        port: int = reserving.getsockname()[1]
        if sys.platform != "linux":  # elsewhere no other socket could have it then
            reserving.close()
        yield port


@contextmanager
def _process(
    checkout: Checkout, settings: Mapping[str, str], postgres: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service under its keeper, in a session apart: Ctrl-C is for pytest, whose tests end first."""
    bare = postgres / "bare"
    bare.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the words are the kit's
            [sys.executable, "-I", "-S", str(_KEEPER), str(postgres), *checkout.command("serve")],
            cwd=bare,
            env=checkout.environment(postgres, bare, settings),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    with process:  # leaving closes its standard input, and waits for its end
        yield process


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + _START_TIMEOUT_S
    while not _is_ready(url):
        if process.poll() is not None:
            raise RollcallUnavailable(_told("Rollcall does not start", log))
        if time.monotonic() > ends_at:
            raise RollcallUnavailable(_told(f"Rollcall is not ready after {_START_TIMEOUT_S:.0f} s", log))
        time.sleep(_POLL_S)


def _is_ready(url: str) -> bool:
    try:
        return send(url, "GET", "/health/ready").status == 200
    except OSError:
        return False


def _told(sentence: str, log: Path) -> str:
    """Say what failed and why, and show the end of what the service wrote."""
    lines = log.read_text(errors="replace").splitlines()
    shown = "".join(f"\n  {line}" for line in lines[-_SHOWN_LINES:])
    return f"{sentence}: {lines[-1] if lines else 'it says nothing'}\nFrom {log}:{shown}"
