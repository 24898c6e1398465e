"""Load over loopback: wrk for the highest rates if it is installed, a generator in Python otherwise.

Requests are raw bytes, sent in order, so that every server gets the same. The generator is a closed loop like
wrk: each connection sends its next request when it has its response. Or it is open: at a fixed rate, with
latencies from the time a request was due (no coordinated omission).
"""

import asyncio
import gc
import re
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

WRK = shutil.which("wrk")
SCRIPT = Path(__file__).with_name("raw_requests.lua")
_LAST_RESPONSE_TIMEOUT_S = 15
_LATENCY = re.compile(r"99%\s+([0-9.]+)(us|ms|s|m)")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass
class LoadResult:
    """The result of a run of load."""

    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    responses: int = 0
    rejected: int = 0
    """Responses other than 2xx."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Responses with 2xx a second."""
        return (self.responses - self.rejected) / self.seconds

    def finish(self) -> "LoadResult":
        self.p50_ms = percentile(self.latencies_ms, 0.5)
        self.p99_ms = percentile(self.latencies_ms, 0.99)
        return self


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def full_speed(port: int, requests: list[bytes], *, connections: int, seconds: float) -> LoadResult:
    """Send as fast as `connections` closed loops can."""
    if WRK is None:
        return run(Source(port, requests, connections=connections), seconds=seconds)[0]
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.write(b"\0".join(requests))
        file.flush()
        printed = subprocess.run(
            [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "--latency",
             "-s", str(SCRIPT), f"http://127.0.0.1:{port}", "--", file.name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return _parse_wrk(printed)


def _parse_wrk(printed: str) -> LoadResult:
    total = re.search(r"(\d+) requests in ([0-9.]+)(ms|s|m)", printed)
    p99 = _LATENCY.search(printed)
    if total is None or p99 is None:
        raise RuntimeError(f"unexpected output of wrk:\n{printed}")
    rejected = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    return LoadResult(
        seconds=float(total[2]) * _MS[total[3]] / 1000,
        responses=int(total[1]),
        rejected=int(rejected[1]) if rejected else 0,
        p99_ms=float(p99[1]) * _MS[p99[2]],
    )


@dataclass
class Source:
    """Clients that send requests to a port: as fast as they can, or `rate` a second in total."""

    port: int
    requests: list[bytes]
    connections: int
    rate: float | None = None


def run_during(burst: Source, reads: Source, *, seconds: float) -> tuple[LoadResult, LoadResult]:
    """Send a burst at full speed and reads concurrently; return the results of both.

    With wrk the burst comes from a process of its own, so that reads do not wait for the generator.
    """
    if WRK is None:
        burst_result, reads_result = run(burst, reads, seconds=seconds)
        return burst_result, reads_result
    with ThreadPoolExecutor(1) as executor:
        bursting = executor.submit(
            full_speed, burst.port, burst.requests, connections=burst.connections, seconds=seconds
        )
        (reads_result,) = run(reads, seconds=seconds)
        return bursting.result(), reads_result


def run(*sources: Source, seconds: float) -> list[LoadResult]:
    """Run all sources concurrently, for `seconds`."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_run(sources, seconds))
    finally:
        gc.enable()


async def _run(sources: tuple[Source, ...], seconds: float) -> list[LoadResult]:
    return list(await asyncio.gather(*(_Clients(source, seconds).run() for source in sources)))


class _Clients:
    """The clients of a source."""

    def __init__(self, source: Source, seconds: float) -> None:
        self.source = source
        self.result = LoadResult(seconds)
        self.idle: deque[_Client] = deque()
        self.due: deque[float] = deque()
        self.requests: Iterator[bytes] = cycle(source.requests)
        self.is_over = False

    async def run(self) -> LoadResult:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.source.port))[1]
            for _ in range(self.source.connections)
        ]
        for client in clients:
            self.send_next(client)
        await (
            asyncio.sleep(self.result.seconds) if self.source.rate is None else self._pace(self.source.rate)
        )
        self.is_over = True
        # Requests in flight complete first: else the server works on them during the next measurement.
        async with asyncio.timeout(_LAST_RESPONSE_TIMEOUT_S):
            await asyncio.gather(*(client.idle.wait() for client in clients))
        for client in clients:
            client.close()
        return self.result.finish()

    async def _pace(self, rate: float) -> None:
        start = time.perf_counter()
        for number in range(int(self.result.seconds * rate)):
            due_at = start + number / rate
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            self.due.append(due_at)
            if self.idle:
                self.idle.popleft().send(next(self.requests), self.due.popleft())
        await asyncio.sleep(0.2)

    def send_next(self, client: "_Client") -> None:
        if self.is_over:
            return
        if self.source.rate is None:
            client.send(next(self.requests), time.perf_counter())
        elif self.due:
            client.send(next(self.requests), self.due.popleft())
        else:
            self.idle.append(client)

    def on_response(self, client: "_Client", status: bytes, sent_at: float) -> None:
        if self.is_over:
            return
        self.result.responses += 1
        if status[:1] == b"2":
            self.result.latencies_ms.append((time.perf_counter() - sent_at) * 1000)
        else:
            self.result.rejected += 1
        self.send_next(client)


class _Client(asyncio.Protocol):
    """One connection. Responses must have a Content-Length, as they do in every application here."""

    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._sent_at = 0.0
        self._received = b""
        self.idle = asyncio.Event()
        self.idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, sent_at: float) -> None:
        self._sent_at = sent_at
        self.idle.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._received) >= end + 4 + length:
            self._received = b""
            self.idle.set()
            self._clients.on_response(self, head[9:12], self._sent_at)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._clients.is_over:
            raise RuntimeError("the server disconnected in the middle of a run") from exc

    def close(self) -> None:
        self._transport.abort()
