"""One address for several processes: requests go to those that `/health/ready` says are ready."""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from harness.service_process import free_port

CHECK_INTERVAL_S: Final = 0.1
_CHECK: Final = b"GET /health/ready HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n"
_HAPROXY: Final = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    retries 5
    option redispatch 1
    retry-on conn-failure
    option http-server-close
    option httpchk
    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host balancer
    default-server check inter {interval_ms} fall 1 rise 1
frontend all
    bind 127.0.0.1:{port}
    default_backend processes
backend processes
    balance roundrobin
{servers}
"""


@asynccontextmanager
async def balancer(directory: Path, ports: Mapping[str, int]) -> AsyncIterator[int]:
    """Run a balancer before the named ports and yield its port: HAProxy if it is installed, or our own."""
    haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    running = _haproxy(haproxy, directory, ports) if haproxy else round_robin(list(ports.values()))
    async with running as port:
        yield port


@asynccontextmanager
async def _haproxy(command: str, directory: Path, ports: Mapping[str, int]) -> AsyncIterator[int]:
    port, configuration = free_port(), directory / "haproxy.cfg"
    servers = "\n".join(f"    server {name} 127.0.0.1:{at}" for name, at in ports.items())
    interval_ms = round(CHECK_INTERVAL_S * 1000)
    configuration.write_text(_HAPROXY.format(interval_ms=interval_ms, port=port, servers=servers))
    with (directory / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            command, "-db", "-f", str(configuration), stdout=log, stderr=log
        )
        try:
            await _wait_until_listening(port)
            yield port
        finally:
            process.terminate()
            await process.wait()


async def _wait_until_listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(CHECK_INTERVAL_S)


@asynccontextmanager
async def round_robin(ports: list[int]) -> AsyncIterator[int]:
    """Run a balancer in this event loop and yield its port."""
    proxy = _RoundRobin(ports)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    checks = asyncio.create_task(proxy.check())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        checks.cancel()
        server.close()


class _RoundRobin:
    """Forwards each request on a new connection; repeats it only if that connection is refused."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._ready: list[int] = []
        self._turn = itertools.count()

    async def check(self) -> None:
        """Find out again and again which processes are ready."""
        while True:
            answers = await asyncio.gather(*map(_is_ready, self._ports))
            self._ready = [port for port, is_ready in zip(self._ports, answers, strict=True) if is_ready]
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests of one client."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await _read_message(reader)
                writer.write(await self._forward(request))
                await writer.drain()
        writer.close()

    async def _forward(self, request: bytes) -> bytes:
        while True:
            for port in self._in_turn():
                with suppress(ConnectionRefusedError):
                    async with _connection(port) as (reader, writer):
                        writer.write(request)
                        return await _read_message(reader)
            await asyncio.sleep(CHECK_INTERVAL_S)

    def _in_turn(self) -> list[int]:
        ready = list(self._ready)
        first = next(self._turn) % len(ready) if ready else 0
        return ready[first:] + ready[:first]


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(5):
            async with _connection(port) as (reader, writer):
                writer.write(_CHECK)
                status = await reader.readline()
    except (OSError, TimeoutError):
        return False
    return status.startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
    return head + body
