"""What the chaos test breaks: PostgreSQL, a proxy before it, a mail server, a service with two workers."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from harness.database import DatabaseProbe
from harness.http_client import ServiceClient
from harness.mail_server import MailServer
from harness.processes import family_of, postmaster_in, signal_all
from harness.proxy import Proxy, dsn_through, socket_directory_of
from harness.service_process import ServiceProcess, environment, free_port, run_command
from harness.worker_pool import WorkerPool
from service.embedded.server import EmbeddedPostgres
from tools.chaos.generator import PASSWORD

ROLE: Final = "chaos"
"""The service connects as this role, which is no superuser: limits do not apply to those."""

WORKERS: Final = 2
_START_TIMEOUT_S: Final = 180.0
_MAILS_TIMEOUT_S: Final = 300.0
_POLL_INTERVAL_S: Final = 0.1
_CREATE_ROLE: Final = (
    f"CREATE ROLE {ROLE} LOGIN",
    f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
    f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
)
_SEND_AGAIN: Final = "UPDATE outbox SET next_attempt_at = now() WHERE sent_at IS NULL"
_END_LEASES: Final = "UPDATE outbox SET locked_until = NULL WHERE sent_at IS NULL"
_SETTINGS: Final = {
    "ROLLCALL_HTTP__WORKERS": str(WORKERS),
    "ROLLCALL_HTTP__TRUSTED_PROXIES": "127.0.0.0/8",
    "ROLLCALL_THROTTLE__NETWORK_PER_MINUTE": "10000",
    "ROLLCALL_THROTTLE__NETWORK_PER_HOUR": "100000",
    "ROLLCALL_LOG__FORMAT": "json",
    "ROLLCALL_MAIL__FROM": "chaos@example.org",
    "ROLLCALL_MAIL__INTERVAL": "200ms",
}


class ChaosEnvironment:
    """Everything under test; `chaos_environment` starts and stops it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._postgres = EmbeddedPostgres(directory / "postgres")
        self._postgres.start()
        self.database = DatabaseProbe(self._postgres.dsn)
        self.proxy = Proxy(directory / "proxy", socket_directory_of(self.database.dsn))
        dsn = dsn_through(self.database.dsn, directory / "proxy").replace("user=rollcall", f"user={ROLE}")
        self.mail = MailServer(free_port())
        smtp_url = f"smtp://127.0.0.1:{self.mail.port}"
        settings = environment(**_SETTINGS, DATABASE_URL=dsn, ROLLCALL_MAIL__SMTP_URL=smtp_url)
        self.service = ServiceProcess(directory, settings, own_session=True)
        self.workers = WorkerPool(self.service, WORKERS)

    @property
    def postmaster(self) -> int:
        """The process id of the PostgreSQL server."""
        return postmaster_in(self.directory / "postgres")

    async def start_postgres(self) -> None:
        """Start PostgreSQL, again if it was killed."""
        await asyncio.to_thread(self._postgres.start)

    async def stop_postgres(self) -> None:
        """Stop PostgreSQL, also if it is frozen."""
        signal_all(family_of(self.postmaster), signal.SIGCONT)
        await asyncio.to_thread(self._postgres.stop)

    async def start_service(self) -> None:
        """Start the service and wait until it is ready; its predecessor may hold the port for a while."""
        self.service.start()
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not await self._is_ready():
                if not self.service.is_running():
                    self.service.start()
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def stop_service(self) -> int:
        """Have the service drain and end; return its exit status."""
        return await asyncio.to_thread(self.service.stop)

    async def send_rest(self) -> None:
        """Have a stopped service send the mails that are left; processes that were killed send none."""
        await self.database.run(_END_LEASES)
        await self.start_service()
        async with asyncio.timeout(_MAILS_TIMEOUT_S):
            while await self.database.fetch("SELECT FROM outbox WHERE sent_at IS NULL LIMIT 1"):
                await self.database.run(_SEND_AGAIN)
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def start_command(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start `python -m service …` on the database, past the proxy."""
        with self.service.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service", *arguments),
                cwd=self.directory,
                env=environment(DATABASE_URL=self.database.dsn),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    async def create_key(self) -> str:
        """Create an API key that may read and write users."""
        created = await asyncio.to_thread(
            self._run, "keys", "create", "chaos", "--scopes", "users:read,users:write"
        )
        return created.strip()

    async def prepare(self) -> None:
        """Migrate the database, and create the role of the service."""
        await asyncio.to_thread(self._run, "database", "migrate")
        await self.database.run(*_CREATE_ROLE)

    def leaks(self) -> list[str]:
        """Return the names of the logs that contain the password of the accounts."""
        logs = (self.service.log, self.directory / "postgres/log")
        return [log.name for log in logs if PASSWORD.encode() in log.read_bytes()]

    def remove(self) -> None:
        """Remove the directory with data and logs."""
        shutil.rmtree(self.directory)

    def _run(self, *arguments: str) -> str:
        done = run_command(*arguments, DATABASE_URL=self.database.dsn)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr}")
        return done.stdout

    async def _is_ready(self) -> bool:
        ready = await ServiceClient(self.service.port).request("GET", "/health/ready")
        return ready.status == 200 and len(self.workers.serving()) == WORKERS


@asynccontextmanager
async def chaos_environment() -> AsyncIterator[ChaosEnvironment]:
    """Run PostgreSQL, proxy, mail server and service in a new directory, which stays."""
    directory = Path(tempfile.mkdtemp(prefix="rollcall-chaos-"))  # short, for the paths of sockets
    (directory / "proxy").mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        chaos = await asyncio.to_thread(ChaosEnvironment, directory)
        stack.push_async_callback(chaos.stop_postgres)
        await chaos.prepare()
        await chaos.mail.start()
        stack.callback(chaos.mail.stop)
        await stack.enter_async_context(chaos.proxy)
        stack.callback(chaos.service.kill)
        await chaos.start_service()
        yield chaos
