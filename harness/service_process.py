"""The service as a process of its own, as an operator runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import psutil

from harness.http_client import client_options

ROOT: Final = Path(__file__).resolve().parents[1]
SERVE: Final = (sys.executable, "-m", "service", "serve")
CHEAP_HASH: Final = {
    "ROLLCALL_PROFILE": "test",
    "ROLLCALL_PASSWORDS__MEMORY_KIB": "8",
    "ROLLCALL_PASSWORDS__ITERATIONS": "1",
}
_WITHOUT_DOTENV: Final = ROOT / "tests"
"""Commands run here, because a developer's .env is in the root."""
_START_TIMEOUT_S: Final = 180.0
_STOP_TIMEOUT_S: Final = 180.0
_POLL_INTERVAL_S: Final = 0.02
_LOG_TAIL_LINES: Final = 40


def free_port() -> int:
    """Return a port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bare_environment(checkout: Path = ROOT, /, **variables: str) -> dict[str, str]:
    """Return an environment that runs a checkout's code with these settings and no others.

    Bytecode is always written: without it each start would compile everything, and keep the memory for it.
    """
    kept = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    return {**kept, "PYTHONPATH": str(checkout), **variables}


def environment(**variables: str) -> dict[str, str]:
    """Return a bare environment in which hashing costs nothing."""
    return bare_environment(**{**CHEAP_HASH, **variables})


def run_command(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=_WITHOUT_DOTENV,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class ServiceProcess:
    """A server process on a free port of loopback, by default `python -m service serve`.

    Its output is appended to `log`. `{url}` in a variable stands for its address. With `own_session` Ctrl-C
    does not reach it, and `kill` reaches its workers.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *,
        name: str = "service",
        command: Sequence[str] = SERVE,
        own_session: bool = False,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"{name}-{self.port}.log"
        self._command = command
        self._own_session = own_session
        self._environment = {
            **{name: value.replace("{url}", self.url) for name, value in environment.items()},
            "PORT": str(self.port),
            "ROLLCALL_HTTP__PORT": str(self.port),
        }
        self._client = httpx.Client(**client_options(self.url))

    def start(self) -> None:
        """Start it, again if it has ended."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                cwd=_WITHOUT_DOTENV,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=self._own_session,
            )

    def is_running(self) -> bool:
        """Return whether it has been started and has not ended."""
        return hasattr(self, "process") and self.process.poll() is None

    def get(self, path: str) -> httpx.Response:
        """GET over real HTTP."""
        return self.request("GET", path)

    def request(
        self, method: str, path: str, token: str | None = None, json: object = None
    ) -> httpx.Response:
        """Send a request over real HTTP."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._client.request(method, path, json=json, headers=headers)

    def output(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(encoding="utf-8")

    def first_password(self) -> str | None:
        """Return the administrator's password that the first run prints."""
        found = re.search(r"password\s+(\S+)", self.output())
        return found[1] if found else None

    def wait_until(self, path: str, status: int) -> None:
        """Wait until a path responds with a status.

        Raises: RuntimeError with the end of the log when the process ends or time is up.
        """
        ends_at = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < ends_at:
            if not self.is_running():
                raise RuntimeError(f"{self.name} ended with {self.process.poll()}:\n{self._log_tail()}")
            with suppress(httpx.TransportError):  # it may end meanwhile
                if self._is_listening() and self.get(path).status_code == status:
                    return
            time.sleep(_POLL_INTERVAL_S)
        raise RuntimeError(f"{path} of {self.name} did not respond with {status}:\n{self._log_tail()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill it; in a session of its own also the workers, even without their supervisor."""
        if not hasattr(self, "process"):
            return
        if self._own_session:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop it if it runs; kill what does not stop in time."""
        self._client.close()
        try:
            if self.is_running():
                self.stop()
        except subprocess.TimeoutExpired:
            self.kill()

    def _is_listening(self) -> bool:
        """Return whether a connection succeeds: a hundredth of the work of a request that fails."""
        with socket.socket() as probe:
            probe.settimeout(1)  # a process that ends may ignore handshakes
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _log_tail(self) -> str:
        return "\n".join(self.output().splitlines()[-_LOG_TAIL_LINES:])


@contextmanager
def service_process(directory: Path, *, ready: bool = True, **variables: str) -> Iterator[ServiceProcess]:
    """Run the service with a cheap hash until the block ends, on an embedded database in the directory."""
    settings = {"ROLLCALL_DATABASE__EMBEDDED_DIR": str(directory / "postgres"), **variables}
    service = ServiceProcess(directory, environment(**settings))
    try:
        service.start()
        service.wait_until("/health/ready" if ready else "/health/live", 200)
        yield service
    finally:
        service.close()


def postgres_processes(directory: Path) -> list[psutil.Process]:
    """Return the PostgreSQL processes whose command line names a directory."""
    marker = str(directory)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(marker in part for part in process.info["cmdline"] or []) and "postgres" in process.name()
    ]


def _is_setting(name: str) -> bool:
    upper = name.upper()
    return upper.startswith("ROLLCALL_") or upper in ("DATABASE_URL", "PYTHONDONTWRITEBYTECODE")
