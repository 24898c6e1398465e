"""Service processes of two releases on fixed ports."""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

from harness.service_process import free_port
from tools.rehearsal.client import Client
from tools.releases.checkout import Checkout

_START_TIMEOUT_S: Final = 120.0
_STOP_TIMEOUT_S: Final = 60.0


class Fleet:
    """The processes of one release. They can be started, ended in order, and started again."""

    def __init__(
        self,
        name: str,
        checkout: Checkout,
        dsn: str,
        directory: Path,
        *,
        processes: int,
        drain_delay_s: float,
    ) -> None:
        self.checkout = checkout
        self.ports = {f"{name}-{number}": free_port() for number in range(processes)}
        self._dsn = dsn
        self._directory = directory
        self._drain_delay_s = drain_delay_s
        self.running: dict[str, Process] = {}

    async def start(self) -> None:
        """Start all processes and wait until they are ready."""
        for name, port in self.ports.items():
            self.running[name] = await self._start(name, port)
        async with asyncio.timeout(_START_TIMEOUT_S):
            for port in self.ports.values():
                await wait_until_ready(port)

    async def stop(self) -> None:
        """End the processes one after the other, as a rolling deployment does."""
        for name in list(self.running):
            await self.stop_one(name)

    async def stop_one(self, name: str) -> None:
        """End a process with SIGTERM and wait for it."""
        process = self.running.pop(name)
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self, name: str, port: int) -> Process:
        settings = {
            "DATABASE_URL": self._dsn,
            "ROLLCALL_MIGRATIONS__ON_START": "false",
            "ROLLCALL_PROFILE": "test",
            "ROLLCALL_PASSWORDS__MEMORY_KIB": "64",
            "ROLLCALL_PASSWORDS__ITERATIONS": "1",
            "ROLLCALL_HTTP__HOST": "127.0.0.1",
            "ROLLCALL_HTTP__PORT": str(port),
            "ROLLCALL_HTTP__DRAIN_DELAY": f"{self._drain_delay_s * 1000:.0f}ms",
            "ROLLCALL_LOG__FORMAT": "json",
        }
        with (self._directory / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                self.checkout.python,
                *("-m", "service", "serve"),
                cwd=self.checkout.path,
                env=self.checkout.environment(settings),
                stdout=log,
                stderr=log,
            )


async def wait_until_ready(port: int) -> None:
    """Wait until a process, or what is behind a balancer, is ready."""
    while True:
        if await status_of(port, "GET", "/health/ready") == 200:
            return
        await asyncio.sleep(0.1)


async def status_of(port: int, method: str, path: str, token: str | None = None, body: object = None) -> int:
    """Return the status of one request, 0 if the connection is refused."""
    try:
        async with Client(port) as client:
            return (await client.request(method, path, token, body)).status
    except (OSError, asyncio.IncompleteReadError):
        return 0
