"""The service as a process of its own, as an operator runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
_ELSEWHERE = ROOT / "tests"
"""Not where a developer's .env is."""
_START_SECONDS = 60.0
_CHEAP_HASH = {
    "ROLLCALL_PROFILE": "test",
    "ROLLCALL_PASSWORDS__MEMORY_KIB": "8",
    "ROLLCALL_PASSWORDS__ITERATIONS": "1",
}


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**variables: str) -> dict[str, str]:
    """Give an environment in which nothing of Rollcall is set but these, and hashing costs nothing."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ROLLCALL_") and name != "DATABASE_URL"
    }
    return {**bare, **_CHEAP_HASH, "PYTHONPATH": str(ROOT), **variables}


def run_command(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=_ELSEWHERE,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class ServiceProcess:
    """A running `python -m service serve`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def get(self, path: str) -> httpx.Response:
        """GET over real HTTP."""
        return httpx.get(f"{self.url}{path}", timeout=10)

    def request(
        self, method: str, path: str, token: str | None = None, json: object = None
    ) -> httpx.Response:
        """Send a request over real HTTP."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"{self.url}{path}", json=json, headers=headers, timeout=10)

    def output(self) -> str:
        """Give what it has written so far."""
        return self.log.read_text()

    def first_password(self) -> str | None:
        """Give the password that the first run shows."""
        found = re.search(r"password\s+(\S+)", self.output())
        return found[1] if found else None

    def wait_until(self, path: str, status: int) -> None:
        """Wait until a path answers with a status."""
        ends_at = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends_at:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended: {self.output()}")
            try:
                if self.get(path).status_code == status:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.05)
        raise AssertionError(f"{path} did not answer {status}: {self.output()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def postgres_processes(directory: Path) -> list[psutil.Process]:
    """Give what runs as a PostgreSQL server on data in a directory."""
    marker = str(directory)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(marker in part for part in process.info["cmdline"] or []) and "postgres" in process.name()
    ]


@contextmanager
def service_process(tmp_path: Path, *, ready: bool = True, **variables: str) -> Iterator[ServiceProcess]:
    """Run the service on a free port until the block ends."""
    port = free_port()
    log = tmp_path / f"service-{port}.log"
    settings = {
        "ROLLCALL_HTTP__PORT": str(port),
        "ROLLCALL_DATABASE__EMBEDDED_DIR": str(tmp_path / "postgres"),
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            cwd=_ELSEWHERE,
            env=environment(**{**settings, **variables}),
            stdout=output,
            stderr=output,
            text=True,
        )
        service = ServiceProcess(process, f"http://127.0.0.1:{port}", log)
        try:
            service.wait_until("/health/ready" if ready else "/health/live", 200)
            yield service
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
