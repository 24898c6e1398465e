"""What the storm breaks over: PostgreSQL, a proxy, and the service with two workers."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from harness.http_client import Client
from harness.processes import children_of, family_of, postmaster_in, signal_all
from harness.proxy import Proxy, dsn_through, socket_directory_of
from service.db.core.engine import create_engine
from service.db.migrations.running import upgrade
from service.embedded.server import EmbeddedPostgres
from settings.values import ROOT
from tools.chaos.generator import PASSWORD

ROLE = "storm"
"""What the service connects as. It is no superuser, for those are above limits."""

WORKERS = 2
_START_S = 60.0
_LOOK_EVERY_S = 0.1
_ROLE_FOR_SERVICE = (
    f"CREATE ROLE {ROLE} LOGIN",
    f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
    f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
)


class Stage:
    """Everything under test. What it starts ends with the block."""

    def __init__(self) -> None:
        # Of its own, because a socket's path has to be short.
        self.directory = Path(tempfile.mkdtemp(prefix="rollcall-storm-"))
        self.server_directory = self.directory / "postgres"
        self.port = _free_port()
        self._postgres = EmbeddedPostgres(self.server_directory)
        self._service: subprocess.Popen[bytes] | None = None
        self._service_log = (self.directory / "service.log").open("ab")
        self._read_bytes = 0
        self._served: set[int] = set()
        self.proxy: Proxy
        self.engine: AsyncEngine

    async def __aenter__(self) -> Self:
        await self.start_postgres()
        await upgrade(self.dsn)
        self.engine = create_engine(self.dsn, pool_size=4)
        await self.run(*_ROLE_FOR_SERVICE)
        proxy_directory = self.directory / "proxy"
        proxy_directory.mkdir(mode=0o700)
        self.proxy = await Proxy(proxy_directory, socket_directory_of(self.dsn)).__aenter__()
        await self.start_service()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_service()
        await self.engine.dispose()
        await self.proxy.__aexit__(kind, error, trace)
        signal_all(family_of(self.postmaster), signal.SIGCONT)
        await asyncio.to_thread(self._postgres.stop)
        self._service_log.close()

    @property
    def dsn(self) -> str:
        """The database, past the proxy and as its owner."""
        return self._postgres.dsn

    @property
    def postmaster(self) -> int:
        """The process id of the PostgreSQL server."""
        return postmaster_in(self.server_directory)

    @property
    def supervisor(self) -> int:
        """The process id of the service."""
        if self._service is None:
            raise RuntimeError("the service was not started")
        return self._service.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of the service's workers."""
        return [pid for pid in children_of(self.supervisor) if b"spawn_main" in _command_of(pid)]

    async def start_postgres(self) -> None:
        """Start PostgreSQL, again if it was killed."""
        await asyncio.to_thread(self._postgres.start)

    async def start_service(self) -> None:
        """Start the service, and wait until it is ready; what it replaces may hold the port for a while."""
        self._launch()
        async with asyncio.timeout(_START_S):
            while not await self._is_ready():
                if self._service is not None and self._service.poll() is not None:
                    self._launch()
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _is_ready(self) -> bool:
        answer = await Client(self.port, "").request("GET", "/health/ready")
        return answer.status == 200 and len(self.workers) == WORKERS

    async def until_complete(self, *, without: int = 0) -> None:
        """Wait until there are as many workers as there should be, each of them serves, and one is gone."""
        async with asyncio.timeout(_START_S):
            # Nothing tells of it, so it is looked for.
            while not self._is_complete(without):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY_S)

    def _is_complete(self, without: int) -> bool:
        workers = set(self.workers)
        return len(workers) == WORKERS and without not in workers and workers <= self._serving()

    def _serving(self) -> set[int]:
        """Give the process ids of all workers that ever came so far as to serve."""
        with (self.directory / "service.log").open("rb") as log:
            log.seek(self._read_bytes)
            lines = [line for line in log if line.endswith(b"\n")]
        self._read_bytes += sum(map(len, lines))
        self._served |= {int(json.loads(line)["worker"]) for line in lines if b'"event":"serving"' in line}
        return self._served

    async def stop_service(self) -> int:
        """Ask the service to end; give its exit status."""
        if self._service is None:
            raise RuntimeError("the service was not started")
        self._service.terminate()
        return await asyncio.to_thread(self._service.wait, _START_S)

    def kill_service(self) -> None:
        """Kill the service with its workers, also those that were left behind."""
        if self._service is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._service.pid, signal.SIGKILL)
            self._service.wait()

    async def run(self, *statements: str) -> None:
        """Run statements as the owner of the database."""
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                await connection.execute(text(statement))

    async def command(self, *words: str) -> asyncio.subprocess.Process:
        """Start `python -m service …` on the database, past the proxy."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words),
            cwd=ROOT,
            env=self._environment(self.dsn),
            stdout=asyncio.subprocess.PIPE,
            stderr=self._service_log,
        )

    def leaks(self) -> list[str]:
        """Give the logs in which the password of the storm's accounts can be read."""
        logs = (self.directory / "service.log", self.server_directory / "log")
        return [log.name for log in logs if PASSWORD.encode() in log.read_bytes()]

    def remove(self) -> None:
        """Remove every trace."""
        shutil.rmtree(self.directory)

    def _launch(self) -> None:
        dsn = dsn_through(self.dsn, self.directory / "proxy").replace("user=rollcall", f"user={ROLE}")
        self._service = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env=self._environment(dsn),
            stdout=self._service_log,
            stderr=self._service_log,
            start_new_session=True,  # Ctrl-C is for the storm, which ends the service in its own time
        )

    def _environment(self, dsn: str) -> dict[str, str]:
        bare = {name: value for name, value in os.environ.items() if not name.upper().startswith("ROLLCALL_")}
        return bare | {
            "DATABASE_URL": dsn,
            "ROLLCALL_PROFILE": "test",
            "ROLLCALL_HTTP__PORT": str(self.port),
            "ROLLCALL_HTTP__WORKERS": str(WORKERS),
            "ROLLCALL_HTTP__TRUSTED_PROXIES": "127.0.0.0/8",
            "ROLLCALL_PASSWORDS__MEMORY_KIB": "64",
            "ROLLCALL_PASSWORDS__ITERATIONS": "1",
            "ROLLCALL_THROTTLE__NETWORK_PER_MINUTE": "10000",
            "ROLLCALL_THROTTLE__NETWORK_PER_HOUR": "100000",
            "ROLLCALL_LOG__FORMAT": "json",
        }


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
