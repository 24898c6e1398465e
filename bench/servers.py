"""The processes that are measured."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
PEERS_PYTHON = ROOT / "bench/.venv/bin/python"
STATE = ROOT / "var/bench"
_START_WITHIN_S = 60.0
_POLL_S = 0.005
_SETTLED_S = 0.3
_SETTLED_WITHIN_S = 15.0


class Server:
    """A running server on loopback."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.port = _free_port()
        STATE.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = (STATE / f"{name}.log").open("wb")
        ports = {"PORT": str(self.port), "ROLLCALL_HTTP__PORT": str(self.port)}
        clean = {key: value for key, value in os.environ.items() if not _distorts(key)}
        started_at = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**clean, **environment, **ports}, stdout=self._log, stderr=self._log
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.started_in_s = time.perf_counter() - started_at

    def resident_mib(self) -> float:
        """Resident memory of the worker, MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"{self.name} has no resident memory")

    def processor_s(self) -> float:
        """Processor time that the server and the processes it has started have used so far, seconds."""
        pids = [str(self.process.pid)]
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            pids += (task / "children").read_text().split()
        return sum(_processor_s(Path(f"/proc/{pid}/stat")) for pid in pids)

    def loop_s(self) -> float:
        """Processor time that its first thread, with the event loop, has used so far, seconds."""
        return _processor_s(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat"))

    def settle(self) -> None:
        """Wait until it works no more: wrk hangs up in the middle, and what it asked for is worked off."""
        ends_at = time.monotonic() + _SETTLED_WITHIN_S
        while time.monotonic() < ends_at:
            used_s = self.processor_s()
            time.sleep(_SETTLED_S)
            if self.processor_s() - used_s < _SETTLED_S / 10:
                return
        raise RuntimeError(f"{self.name} works on and on, and nobody asks for anything")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def _wait_until_ready(self) -> None:
        ends_at = time.monotonic() + _START_WITHIN_S
        while time.monotonic() < ends_at:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start; see {self._log.name}")
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (URLError, OSError):
                time.sleep(_POLL_S)
        raise RuntimeError(f"{self.name} is not ready after {_START_WITHIN_S:.0f} s; see {self._log.name}")


@contextmanager
def rollcall(dsn: str | None, name: str = "rollcall", **settings: str) -> Iterator[Server]:
    """Rollcall with its default settings, as `make run` serves it, but for the ones given."""
    server = Server(
        name, [sys.executable, "-m", "service", "serve"], {"DATABASE_URL": dsn or "embedded", **settings}
    )
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def peer(name: str, dsn: str) -> Iterator[Server]:
    """One of the applications in bench/peers."""
    server = Server(name, [str(PEERS_PYTHON), "-m", f"bench.peers.{name}"], {"DATABASE_URL": dsn})
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def under_granian(dsn: str) -> Iterator[Server]:
    """Rollcall with its own packages and its default settings, but served by granian."""
    paths = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    server = Server(
        "granian", [str(PEERS_PYTHON), "-m", "bench.peers.under_granian"],
        {"DATABASE_URL": dsn, "PYTHONPATH": paths},
    )  # fmt: skip
    try:
        yield server
    finally:
        server.stop()


def _distorts(variable: str) -> bool:
    """Tell what would measure another service than the one that operators start.

    Without written bytecode each start would compile what no earlier one has, and keep the memory for it.
    """
    return variable.startswith("ROLLCALL_") or variable == "PYTHONDONTWRITEBYTECODE"


def database_s() -> float:
    """Processor time that the bench's PostgreSQL has used so far, seconds; of the processes that live."""
    return sum(_processor_s(process / "stat") for process in Path("/proc").iterdir() if _is_ours(process))


def _is_ours(process: Path) -> bool:
    try:
        return process.name.isdigit() and (process / "cwd").resolve().is_relative_to(STATE)
    except OSError:  # it has ended meanwhile, or is somebody else's
        return False


def _processor_s(stat: Path) -> float:
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
