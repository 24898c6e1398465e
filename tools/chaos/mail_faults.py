"""The faults of the mail server."""

import asyncio
from time import monotonic

from tools.chaos.context import FaultContext, InvariantViolated
from tools.chaos.faults import fault
from tools.chaos.generator import invitation


@fault()
async def smtp_killed(context: FaultContext) -> None:
    """Stop the mail server with its connections, and start it again."""
    context.environment.mail.stop()
    try:
        await _invite_during(context, 0.5, 4)
    finally:
        await context.environment.mail.start()


@fault()
async def smtp_hanging(context: FaultContext) -> None:
    """Have the mail server take messages and never answer."""
    with context.environment.mail.misbehaving(hangs=True):
        await _invite_during(context, 2, 8)


@fault()
async def smtp_refusing(context: FaultContext) -> None:
    """Have the mail server refuse every recipient for now."""
    with context.environment.mail.misbehaving(recipient_reply="450 later"):
        await _invite_during(context, 0.5, 3)


@fault()
async def smtp_slow(context: FaultContext) -> None:
    """Have the mail server take half a second for each answer."""
    with context.environment.mail.misbehaving(delay_s=0.5):
        await _invite_during(context, 1, 4)


async def _invite_during(context: FaultContext, min_s: float, max_s: float) -> None:
    """Create accounts that get mails, one after the other; no request may wait for the mail server."""
    ends_at = monotonic() + context.rng.uniform(min_s, max_s)
    results: list[str] = []
    while monotonic() < ends_at or not results:
        results.append(await _invite(context, f"mail-{context.rng.randrange(10**12)}"))
        await asyncio.sleep(0.05)
    if "201" not in results:
        raise InvariantViolated(f"without a mail server, every invitation failed: {set(results)}")


async def _invite(context: FaultContext, name: str) -> str:
    result = await context.client().request("POST", "/v1/users", invitation(name))
    await context.workload.record("create", name, name, context.workload.fault, result)
    return result.summary
