"""The server processes that are measured."""

import os
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness import processes
from harness.service_process import ROOT, SERVE, ServiceProcess, bare_environment

PEERS_PYTHON: Final = ROOT / "bench/.venv/bin/python"
STATE: Final = ROOT / "var/bench"
_IDLE_SAMPLE_S: Final = 0.3
_IDLE_TIMEOUT_S: Final = 15.0


class Server(ServiceProcess):
    """A server process with what it uses of the machine."""

    started_in_s: float
    """From its start to the first 200 of `/health/ready`."""

    def __init__(self, name: str, environment: Mapping[str, str], command: Sequence[str] = SERVE) -> None:
        STATE.mkdir(parents=True, exist_ok=True)
        super().__init__(STATE, environment, name=name, command=command)

    def resident_mib(self) -> float:
        """Return the resident memory of the worker, MiB."""
        return processes.resident_mib(self.process.pid)

    def processor_s(self) -> float:
        """Return the processor time of the server and its children so far, seconds."""
        return processes.processor_s(*processes.family_of(self.process.pid))

    def event_loop_s(self) -> float:
        """Return the processor time of the thread with the event loop so far, seconds."""
        return processes.main_thread_s(self.process.pid)

    def wait_until_idle(self) -> None:
        """Wait until it works no more: wrk hangs up in the middle, and the server still finishes that."""
        ends_at = time.monotonic() + _IDLE_TIMEOUT_S
        while time.monotonic() < ends_at:
            used_s = self.processor_s()
            time.sleep(_IDLE_SAMPLE_S)
            if self.processor_s() - used_s < _IDLE_SAMPLE_S / 10:
                return
        raise RuntimeError(f"{self.name} is busy without any request")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it at the end of the block."""
    started_at = time.perf_counter()
    try:
        server.start()
        server.wait_until("/health/ready", 200)
        server.started_in_s = time.perf_counter() - started_at
        yield server
    finally:
        server.close()
    server.log.unlink()  # a run that failed keeps it


@contextmanager
def rollcall(
    dsn: str | None, name: str = "rollcall", checkout: Path = ROOT, /, **settings: str
) -> Iterator[Server]:
    """Run a checkout's Rollcall as `make run` serves it, with its default settings but for these."""
    variables = {"DATABASE_URL": dsn or "embedded", **settings}
    with running(Server(name, bare_environment(checkout, **variables))) as server:
        yield server


@contextmanager
def peer(name: str, dsn: str) -> Iterator[Server]:
    """Run one of the applications in bench/peers."""
    command = (str(PEERS_PYTHON), "-m", f"bench.peers.{name}")
    with running(Server(name, bare_environment(DATABASE_URL=dsn), command)) as server:
        yield server


@contextmanager
def under_granian(dsn: str) -> Iterator[Server]:
    """Run Rollcall with its own packages and default settings, served by granian."""
    paths = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    command = (str(PEERS_PYTHON), "-m", "bench.peers.under_granian")
    variables = {"DATABASE_URL": dsn, "PYTHONPATH": paths}
    with running(Server("granian", bare_environment(**variables), command)) as server:
        yield server


def database_s() -> float:
    """Return the processor time of the bench's PostgreSQL so far, seconds, of the processes that live."""
    return processes.processor_s(*processes.processes_below(STATE))
