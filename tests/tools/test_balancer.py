"""The balancer for machines without HAProxy sends each request once, to a process that is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from harness.service_process import free_port
from tools.rehearsal.client import Client
from tools.releases.balancer import CHECK_INTERVAL_S, round_robin


class Process:
    """A server that says whether it is ready, and counts its other requests."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready, self.requests = is_ready, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            is_check = request.startswith(b"GET /health/ready")
            self.requests += not is_check
            status = b"200 OK" if self.is_ready or not is_check else b"503 Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()


@asynccontextmanager
async def listening(process: Process) -> AsyncIterator[int]:
    async with await asyncio.start_server(process.serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("is_dead_listed", [False, True])
async def test_requests_go_to_ready_processes_in_turn(*, is_dead_listed: bool) -> None:
    first, second, unready = Process(), Process(), Process(is_ready=False)
    async with listening(first) as one, listening(second) as two, listening(unready) as three:
        ports = [one, two, three, *([free_port()] if is_dead_listed else [])]
        async with round_robin(ports) as port, Client(port) as client:
            for _ in range(10):
                assert (await client.request("GET", "/v1/users")).status == 200
    assert (first.requests, second.requests, unready.requests) == (5, 5, 0)


async def test_request_waits_until_a_process_is_ready() -> None:
    process = Process(is_ready=False)
    async with listening(process) as at, round_robin([at]) as port, Client(port) as client:
        waiting = asyncio.create_task(client.request("GET", "/v1/users"))
        await asyncio.sleep(2 * CHECK_INTERVAL_S)
        assert not waiting.done()
        process.is_ready = True
        assert (await waiting).status == 200
