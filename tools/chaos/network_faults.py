"""The faults of the network between service and database."""

import asyncio

from harness.proxy import LostCommits
from tools.chaos.context import FaultContext
from tools.chaos.faults import fault


@fault(times=2)
async def commit_replies_lost(context: FaultContext) -> None:
    """Lose the replies to COMMIT, with their connections."""
    await _lose_commits(context, LostCommits.DONE)


@fault()
async def commits_lost(context: FaultContext) -> None:
    """Lose COMMITs, with their connections."""
    await _lose_commits(context, LostCommits.SENT)


@fault()
async def commits_unanswered(context: FaultContext) -> None:
    """Lose the replies to COMMIT, and keep their connections open."""
    await _lose_commits(context, LostCommits.UNANSWERED)
    context.proxy.cut()


async def _lose_commits(context: FaultContext, how: LostCommits) -> None:
    context.proxy.lost_commits = how
    await context.sleep(0.5, 1.5)
    context.proxy.lost_commits = None


@fault()
async def network_slow(context: FaultContext) -> None:
    """Delay everything between service and database."""
    context.proxy.latency_s = context.rng.uniform(0.02, 0.5)
    await context.sleep(1, 3)
    context.proxy.latency_s = 0.0


@fault()
async def network_thin(context: FaultContext) -> None:
    """Limit each connection to a kilobyte a second."""
    context.proxy.bytes_per_second = 1000
    await context.sleep(1, 3)
    context.proxy.bytes_per_second = None


@fault()
async def network_silent(context: FaultContext) -> None:
    """Forward nothing, and keep connections open."""
    with context.proxy.silence():
        await context.sleep(1, 12)


@fault()
async def connections_cut_at_a_byte(context: FaultContext) -> None:
    """End each connection after a random number of bytes."""
    for _ in range(10):
        context.proxy.cut_after_bytes = context.rng.randrange(1, 6000)
        context.proxy.cut()
        await asyncio.sleep(0.2)
    context.proxy.cut_after_bytes = None
    context.proxy.cut()
