"""The command of the chaos test."""

import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tools.chaos.checker import Violation, check, read_state
from tools.chaos.context import FaultContext, InvariantViolated
from tools.chaos.environment import ChaosEnvironment, chaos_environment
from tools.chaos.generator import NO_FAULT, Workload
from tools.chaos.history import History
from tools.chaos.mails import Period, check_mails
from tools.chaos.nemesis import FAULTS
from tools.chaos.report import FaultLog, Mails, Report

_MAX_RECOVERY_S: Final = 30.0
_WIDTH: Final = 130


@click.command("chaos")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=2.0, show_default=True)
@click.option("--seed", type=int, help="Repeat the order of the faults of an earlier run.")
@click.option("--only", default="", help="Only faults with this in their name, such as smtp.")
def chaos(minutes: float, seed: int | None, only: str) -> None:
    """Inject faults at random under load, and prove that nothing acknowledged is lost.

    Runs its own PostgreSQL and service on this machine; yours are not touched. Ctrl-C ends the run early,
    with its report.
    """
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    faults = [name for name, (times, _) in FAULTS.items() if only in name for _ in range(times)]
    if not faults:
        raise click.BadParameter(f"No fault has {only!r} in its name.", param_hint="--only")
    console.print(f"seed {chosen}")
    if not asyncio.run(_run(minutes * 60, chosen, faults, console)):
        raise click.exceptions.Exit(1)


async def _run(seconds: float, seed: int, faults: list[str], console: Console) -> bool:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with chaos_environment() as environment:
        report = await _inject_and_check(environment, seconds, seed, faults, stop, console)
    report.print(console)
    if report.is_clean():
        environment.remove()
    else:
        console.print(f"History and logs are kept in {environment.directory}")
    return report.is_clean()


async def _inject_and_check(
    environment: ChaosEnvironment,
    seconds: float,
    seed: int,
    faults: list[str],
    stop: asyncio.Event,
    console: Console,
) -> Report:
    with History(environment.directory / "history") as history:
        workload = Workload(environment.service.port, await environment.create_key(), history, seed)
        context = FaultContext(environment, workload, random.Random(seed))  # noqa: S311 - to be repeated
        log = FaultLog()
        await _inject_faults(context, log, seconds, _shuffled(faults, context.rng), stop, console)
        result = check(history, await read_state(environment.database))
        mails = await _send_and_check_mails(environment, log)
    return Report(log, workload, result, mails, environment.leaks())


async def _send_and_check_mails(environment: ChaosEnvironment, log: FaultLog) -> Mails:
    """Send what is left without a fault, and compare all mails with the accounts that were invited."""
    violations = []
    try:
        await environment.send_rest()
    except TimeoutError:
        violations.append(Violation("mail", "the service does not send the mails that are left"))
    await environment.stop_service()
    rows = await environment.database.fetch("SELECT email FROM users WHERE email IS NOT NULL")
    accepted = environment.mail.mails
    violations += check_mails(accepted, {email for (email,) in rows}, log.periods)
    return Mails(len(accepted), len(accepted) - len(set(environment.mail.recipients)), violations)


async def _inject_faults(
    context: FaultContext,
    log: FaultLog,
    seconds: float,
    names: Iterator[str],
    stop: asyncio.Event,
    console: Console,
) -> None:
    """Inject one fault after the other until time is up; then stop clients and service."""
    ends_at = monotonic() + seconds
    workload = context.workload
    workload.start()
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        line = progress.add_task(NO_FAULT)
        for name in names:
            progress.update(line, description=f"{workload.acknowledged} acknowledged · {name}")
            if not console.is_terminal:
                console.print(f"{max(0, ends_at - monotonic()):4.0f} s left, {name}")
            await _inject(name, context, log)
            workload.raise_if_ended()
            if stop.is_set() or monotonic() > ends_at:
                break
    await workload.stop()
    if status := await context.environment.stop_service():
        log.violations.append(Violation(NO_FAULT, f"the service ended with status {status}"))


async def _inject(name: str, context: FaultContext, log: FaultLog) -> None:
    """Inject a fault, and measure the time until a write succeeds again."""
    _, fault = FAULTS[name]
    log.rounds[name] += 1
    context.workload.fault, started_at = name, monotonic()
    try:
        await fault(context)
        ended_at = monotonic()
        async with asyncio.timeout(_MAX_RECOVERY_S):
            recovered_at = await context.workload.wait_for_write_started_after(ended_at)
        log.recoveries_s[name].append(recovered_at - ended_at)
    except InvariantViolated as error:
        log.violations.append(Violation(name, str(error)))
    except TimeoutError:
        log.violations.append(Violation(name, f"no write was acknowledged within {_MAX_RECOVERY_S:.0f} s"))
    context.workload.fault = NO_FAULT
    await context.environment.workers.wait_until_complete()
    log.periods.append(Period(name, started_at, monotonic()))
    await context.sleep(0.2, 1)


def _shuffled(names: list[str], rng: random.Random) -> Iterator[str]:
    """Yield all faults, round after round, each as often as it occurs in a round."""
    while True:
        rng.shuffle(names)
        yield from names
