"""Load over loopback: wrk for the highest rates where it is installed, our own generator for the rest.

Requests are raw bytes, taken in turn, so that every server is sent the same. The generator works as wrk does:
a fixed number of connections, each sending its next request when it has its answer; or at a fixed rate, with
latencies counted from the time a request was due, so that a stalled server cannot hide behind its own stall.
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
_LAST_ANSWER_WITHIN_S = 15
_LATENCY = re.compile(r"99%\s+([0-9.]+)(us|ms|s|m)")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass
class LoadResult:
    """What a run of load saw."""

    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    responses: int = 0
    rejected: int = 0
    """Responses other than 2xx."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with 2xx a second."""
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
        told = subprocess.run(
            [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "--latency",
             "-s", str(SCRIPT), f"http://127.0.0.1:{port}", "--", file.name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return _of_wrk(told)


def _of_wrk(told: str) -> LoadResult:
    total = re.search(r"(\d+) requests in ([0-9.]+)(ms|s|m)", told)
    p99 = _LATENCY.search(told)
    if total is None or p99 is None:
        raise RuntimeError(f"wrk said something else than expected:\n{told}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return LoadResult(
        seconds=float(total[2]) * _MS[total[3]] / 1000,
        responses=int(total[1]),
        rejected=int(refused[1]) if refused else 0,
        p99_ms=float(p99[1]) * _MS[p99[2]],
    )


@dataclass
class Source:
    """Clients that send requests to a port: as fast as they can, or `rate` a second between them."""

    port: int
    requests: list[bytes]
    connections: int
    rate: float | None = None


def beside(storm: Source, reads: Source, *, seconds: float) -> tuple[LoadResult, LoadResult]:
    """Let a storm send as fast as it can, and read meanwhile; what the storm and what the reads saw.

    Where wrk is installed, the storm comes from a process of its own: a read does not wait then for the
    generator to serve the clients of the storm.
    """
    if WRK is None:
        storming, reading = run(storm, reads, seconds=seconds)
        return storming, reading
    with ThreadPoolExecutor(1) as executor:
        raging = executor.submit(
            full_speed, storm.port, storm.requests, connections=storm.connections, seconds=seconds
        )
        (reading,) = run(reads, seconds=seconds)
        return raging.result(), reading


def run(*sources: Source, seconds: float) -> list[LoadResult]:
    """Let all sources send at the same time, for `seconds`."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_run(sources, seconds))
    finally:
        gc.enable()


async def _run(sources: tuple[Source, ...], seconds: float) -> list[LoadResult]:
    return list(await asyncio.gather(*(_Clients(source, seconds).run() for source in sources)))


class _Clients:
    def __init__(self, source: Source, seconds: float) -> None:
        self.source = source
        self.outcome = LoadResult(seconds)
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
            self.free(client)
        await (
            asyncio.sleep(self.outcome.seconds) if self.source.rate is None else self._pace(self.source.rate)
        )
        self.is_over = True
        # What is still asked is answered first, or the server would work it off in the next measurement.
        async with asyncio.timeout(_LAST_ANSWER_WITHIN_S):
            await asyncio.gather(*(client.idle.wait() for client in clients))
        for client in clients:
            client.close()
        return self.outcome.finish()

    async def _pace(self, rate: float) -> None:
        start = time.perf_counter()
        for number in range(int(self.outcome.seconds * rate)):
            due_at = start + number / rate
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            self.due.append(due_at)
            if self.idle:
                self.idle.popleft().ask(next(self.requests), self.due.popleft())
        await asyncio.sleep(0.2)

    def free(self, client: "_Client") -> None:
        if self.is_over:
            return
        if self.source.rate is None:
            client.ask(next(self.requests), time.perf_counter())
        elif self.due:
            client.ask(next(self.requests), self.due.popleft())
        else:
            self.idle.append(client)

    def answered(self, client: "_Client", status: bytes, asked_at: float) -> None:
        if self.is_over:
            return
        self.outcome.responses += 1
        if status[:1] == b"2":
            self.outcome.latencies_ms.append((time.perf_counter() - asked_at) * 1000)
        else:
            self.outcome.rejected += 1
        self.free(client)


class _Client(asyncio.Protocol):
    """One connection. Answers carry Content-Length, as those of every application here do."""

    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._asked_at = 0.0
        self._received = b""
        self.idle = asyncio.Event()
        self.idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, asked_at: float) -> None:
        self._asked_at = asked_at
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
            self._clients.answered(self, head[9:12], self._asked_at)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._clients.is_over:
            raise RuntimeError("the server hung up in the middle of a run") from exc

    def close(self) -> None:
        self._transport.abort()
