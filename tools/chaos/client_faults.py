"""The faults of clients: floods, races, broken and slow connections."""

import asyncio
import resource
from contextlib import suppress
from typing import Final

from harness.processes import open_files_of
from tools.chaos.context import FaultContext
from tools.chaos.faults import fault
from tools.chaos.generator import PASSWORD

_, _MAX_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
_FILES_LEFT: Final = 5


@fault()
async def hashing_flooded(context: FaultContext) -> None:
    """Log in from a hundred networks at once."""
    clients = [context.client(f"10.9.{number}.1") for number in range(100)]
    body = {"login_id": "nobody", "password": PASSWORD}
    for result in await asyncio.gather(*(each.request("POST", "/v1/sessions", body) for each in clients)):
        context.workload.count(context.workload.fault, result)


@fault()
async def same_login_id_wanted(context: FaultContext) -> None:
    """Create the same account twenty times at once, ten times over."""
    for _ in range(10):
        login_id = f"race-{context.rng.randrange(10**12)}"
        await asyncio.gather(*(_create(context, login_id, f"{login_id}-{number}") for number in range(20)))


async def _create(context: FaultContext, login_id: str, name: str) -> None:
    result = await context.client().request("POST", "/v1/users", {"login_id": login_id, "name": name})
    await context.workload.record("race", login_id, name, context.workload.fault, result)


@fault()
async def clients_vanishing(context: FaultContext) -> None:
    """Disconnect in the middle of requests, or right after them."""
    await asyncio.gather(*(_vanish(context, f"gone-{context.rng.randrange(10**12)}") for _ in range(50)))


async def _vanish(context: FaultContext, login_id: str) -> None:
    body = {"login_id": login_id, "name": login_id}
    request = context.client().raw_request("POST", "/v1/users", body)
    part = request[: context.rng.randrange(1, len(request) * 2)]
    await _send_and_disconnect(context, [part], pause_s=context.rng.uniform(0, 0.05))


@fault()
async def clients_slow(context: FaultContext) -> None:
    """Send requests a byte at a time."""
    request = context.client().raw_request("POST", "/v1/users", {"login_id": "slow"})
    pieces = [request[position : position + 1] for position in range(20)]
    await asyncio.gather(*(_send_and_disconnect(context, pieces, pause_s=0.1) for _ in range(50)))


@fault()
async def descriptors_used_up(context: FaultContext) -> None:
    """Leave a worker hardly any file descriptors, and take them all."""
    if not (workers := context.environment.workers.serving()):
        return
    worker = context.rng.choice(workers)
    with suppress(ProcessLookupError, FileNotFoundError):
        limits = resource.prlimit(
            worker, resource.RLIMIT_NOFILE, (open_files_of(worker) + _FILES_LEFT, _MAX_FILES)
        )
        await asyncio.gather(*(_send_and_disconnect(context, [b"", b""], pause_s=1) for _ in range(100)))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


async def _send_and_disconnect(context: FaultContext, pieces: list[bytes], *, pause_s: float) -> None:
    """Send pieces with a pause after each; the service may be down, or disconnect first."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", context.workload.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
        finally:
            writer.transport.abort()
