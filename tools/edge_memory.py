"""Measure the resident memory of the service while one client attacks its HTTP edge.

`python -m tools.edge_memory [--checkout DIRECTORY]` starts a service of its own for each attack, sends it,
and prints a row of a table: memory before, at the peak, and ten seconds after, and what other requests
waited meanwhile. The checkout of another commit shows what a change is worth.
"""

import asyncio
import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import psutil

from harness.service_process import CHEAP_HASH, ROOT, ServiceProcess, bare_environment

Address = tuple[str, int]

_MIB: Final = 1 << 20
_ATTACK_TIMEOUT_S: Final = 60.0
_SETTLE_S: Final = 10.0
_SAMPLE_S: Final = 0.01
_SMALL_REQUEST: Final = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
_IDLE_CONNECTIONS: Final = 2000
_OPEN_FILES: Final = 8192
_PROBE: Final = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Memory:
    """Resident memory in MiB, and the longest wait of another client in milliseconds."""

    before: float
    peak: float
    after: float
    longest_wait_ms: float

    def row(self, name: str) -> str:
        """Return a row of the table."""
        figures = (self.before, self.peak, self.after, self.longest_wait_ms)
        return f"| {name} | {' | '.join(f'{figure:.0f}' for figure in figures)} |"


async def _send(address: Address, *parts: bytes, repeat: int = 1) -> None:
    """Send parts over one connection and read all responses, until the server ends it or all are sent."""
    reader, writer = await asyncio.open_connection(*address)
    reading = asyncio.create_task(_drain(reader))
    with contextlib.suppress(ConnectionError):
        for part in (*parts[:1], *parts[1:] * repeat):
            writer.write(part)
            await writer.drain()
        await asyncio.wait({reading}, timeout=3)
    reading.cancel()
    writer.transport.abort()


async def _drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


async def _pipeline(address: Address) -> None:
    batch = _SMALL_REQUEST * (_MIB // len(_SMALL_REQUEST))
    await _send(address, b"", batch, repeat=8)


async def _small_fields(address: Address) -> None:
    await _send(address, _SMALL_REQUEST[:-2], b"a:b\r\n" * (_MIB // 5), repeat=12)


async def _one_field(address: Address) -> None:
    await _send(address, _SMALL_REQUEST[:-2] + b"a:", b"x" * _MIB, repeat=24)


async def _trailers(address: Address) -> None:
    head = b"POST /v1/sessions HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:chunked\r\n\r\n0\r\na:"
    await _send(address, head, b"x" * _MIB, repeat=24)


async def _idle(address: Address) -> None:
    opened = []
    for _ in range(_IDLE_CONNECTIONS):
        with contextlib.suppress(ConnectionError):
            opened.append(await asyncio.open_connection(*address))
    await asyncio.sleep(2)
    for _, writer in opened:
        writer.transport.abort()


ATTACKS: Final[dict[str, Callable[[Address], Awaitable[None]]]] = {
    "8 MiB of pipelined requests": _pipeline,
    "12 MiB of small header fields, never finished": _small_fields,
    "24 MiB in one header field": _one_field,
    "24 MiB in one trailer field": _trailers,
    f"{_IDLE_CONNECTIONS} idle connections": _idle,
}


async def measure(
    process: psutil.Process, address: Address, attack: Callable[[Address], Awaitable[None]]
) -> Memory:
    """Attack a service, and return what its memory did."""
    before, peak, longest_wait = process.memory_info().rss, 0, 0.0
    attacking = asyncio.ensure_future(asyncio.wait_for(attack(address), _ATTACK_TIMEOUT_S))
    while not attacking.done():
        asked_at = time.perf_counter()
        with contextlib.suppress(ConnectionError):
            await _send(address, _PROBE)
            longest_wait = max(longest_wait, time.perf_counter() - asked_at)
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(_SAMPLE_S)
    attacking.result()
    await asyncio.sleep(_SETTLE_S)
    after = process.memory_info().rss
    return Memory(before / _MIB, max(peak, after) / _MIB, after / _MIB, longest_wait * 1000)


@contextlib.contextmanager
def _service(checkout: Path, directory: Path) -> Iterator[ServiceProcess]:
    """Run the service of a checkout on an embedded database in the directory."""
    settings = {**CHEAP_HASH, "ROLLCALL_DATABASE__EMBEDDED_DIR": str(directory / "postgres")}
    service = ServiceProcess(directory, bare_environment(checkout, **settings))
    try:
        service.start()
        service.wait_until("/health/ready", 200)
        yield service
    finally:
        service.close()


@click.command()
@click.option(
    "--checkout", type=click.Path(path_type=Path, exists=True), default=ROOT, help="Whose code to run."
)
def main(checkout: Path) -> None:
    """Print what each attack does to the memory of the service."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))
    click.echo("| one client sends | MiB before | at the peak | 10 s after | longest wait of others, ms |")
    click.echo("|---|---|---|---|---|")
    for name, attack in ATTACKS.items():
        with (
            tempfile.TemporaryDirectory() as directory,
            _service(checkout.resolve(), Path(directory)) as service,
        ):
            process = psutil.Process(service.process.pid)
            click.echo(asyncio.run(measure(process, ("127.0.0.1", service.port), attack)).row(name))


if __name__ == "__main__":
    sys.exit(main())
