"""A server that ends serves what the kernel has accepted, and refuses the rest."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from harness.service_process import environment, free_port, service_process
from service.server.drain import accept_handshakes, ignore_handshakes, serve_accepted

REQUEST = b"GET /health/live HTTP/1.1\r\nHost: rollcall.test\r\nConnection: close\r\n\r\n"


def test_sigterm_serves_connections_whose_request_comes_later(tmp_path: Path, database: str) -> None:
    with service_process(tmp_path, DATABASE_URL=database, ROLLCALL_HTTP__DRAIN_DELAY="0s") as service:
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        connections = [socket.create_connection(address, timeout=60) for _ in range(50)]
        service.process.send_signal(signal.SIGTERM)
        for connection in connections:
            connection.sendall(REQUEST)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            connection.close()
        assert service.process.wait(30) == 0


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_ignore_handshakes_drops_new_connections_alone(
    listener: socket.socket,
) -> None:
    with listener, socket.create_connection(listener.getsockname(), timeout=60) as accepted:
        ignore_handshakes(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.1)
        server_side, _ = listener.accept()
        with server_side:
            accepted.sendall(b"x")
            assert server_side.recv(1) == b"x"
        accept_handshakes(listener)
        accept_handshakes(listener)
        socket.create_connection(listener.getsockname(), timeout=60).close()


async def test_serve_accepted_empties_the_queue_before_it_returns(listener: socket.socket) -> None:
    connected = asyncio.Semaphore(0)

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.release()
        writer.close()

    server = await asyncio.start_server(accept, sock=listener)
    clients = [await asyncio.open_connection(*listener.getsockname()) for _ in range(20)]
    await serve_accepted([listener], ())
    server.close()
    for _ in clients:
        await asyncio.wait_for(connected.acquire(), 30)
    for _, writer in clients:
        writer.close()
        await writer.wait_closed()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_rolling_restart_without_a_balancer_resets_no_connection(tmp_path: Path, database: str) -> None:
    """Clients open a connection for each request, and repeat refused ones alone."""
    port = free_port()
    stop, counts = asyncio.Event(), {"served": 0, "refused": 0}

    async def client() -> None:
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                counts["refused"] += 1
                await asyncio.sleep(0.02)
                continue
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            counts["served"] += 1

    clients = [asyncio.create_task(client()) for _ in range(16)]
    settings = {"DATABASE_URL": database, "ROLLCALL_HTTP__PORT": str(port)}
    for _ in range(5):
        command = (sys.executable, "-m", "service", "serve")
        process = await asyncio.create_subprocess_exec(*command, env=environment(**settings))
        served = counts["served"]
        while counts["served"] < served + 200:  # noqa: ASYNC110 - 16 clients count
            await asyncio.sleep(0.05)
        process.terminate()
        assert await process.wait() == 0
    stop.set()
    await asyncio.gather(*clients)
    assert counts["served"] >= 1000
