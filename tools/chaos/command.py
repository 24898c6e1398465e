"""`storm`: the proof under faults."""

import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from functools import partial
from time import monotonic

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.keys import Scope
from service.services import Services, run_with_services
from service.usecases.keys import create_key
from settings import Settings
from tools.chaos.checker import Finding, judge, look
from tools.chaos.environment import Stage
from tools.chaos.generator import Load
from tools.chaos.history import History
from tools.chaos.nemesis import FAULTS, FaultContext, InvariantViolated
from tools.chaos.report import Log, is_clean, print_report

_RECOVERS_WITHIN_S = 30.0
_CALM = "calm"
_WIDTH = 130


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=2.0, show_default=True)
@click.option("--seed", type=int, help="Repeat the order of the faults of an earlier storm.")
def storm(minutes: float, seed: int | None) -> None:
    """Break everything at random under load, and prove that nothing acknowledged is lost.

    Runs a PostgreSQL and a service of its own on this machine; what you run is left alone. Ctrl-C ends the
    storm early, with its report.
    """
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(f"seed {chosen}")
    if not asyncio.run(_run(minutes * 60, chosen, console)):
        raise click.exceptions.Exit(1)


async def _run(seconds: float, seed: int, console: Console) -> bool:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    rng = random.Random(seed)  # noqa: S311 - to be repeated
    async with Stage() as stage:
        with History(stage.directory / "journal") as history:
            key = await asyncio.to_thread(_make_key, stage.dsn)
            sky = FaultContext(stage, Load(stage.port, key, history, seed), rng)
            log = Log()
            await _break(sky, log, seconds, stop, console)
            verdict = judge(history, await look(stage.engine))
        leaks = stage.leaks()
        print_report(console, log, sky.load, verdict, leaks)
    if is_clean(log, sky.load, verdict, leaks):
        stage.remove()
        return True
    console.print(f"Journal and logs are kept in {stage.directory}")
    return False


async def _break(sky: FaultContext, log: Log, seconds: float, stop: asyncio.Event, console: Console) -> None:
    """Let one fault follow the other until the time is over; then let everything come to rest."""
    ends_at = monotonic() + seconds
    sky.load.start()
    with Progress(
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as progress:
        line = progress.add_task(_CALM)
        for name in _names(sky.rng):
            progress.update(line, description=f"{sky.load.acknowledged} acknowledged · {name}")
            if not console.is_terminal:
                console.print(f"{max(0, ends_at - monotonic()):4.0f} s left, {name}")
            await _let_break(name, sky, log)
            sky.load.raise_if_ended()
            if stop.is_set() or monotonic() > ends_at:
                break
    await sky.load.stop()
    if status := await sky.stage.stop_service():
        log.broken.append(Finding(_CALM, f"the service ended with status {status}"))


async def _let_break(name: str, sky: FaultContext, log: Log) -> None:
    _, fault = FAULTS[name]
    log.rounds[name] += 1
    sky.load.fault = name
    try:
        await fault(sky)
        healed_at = monotonic()
        async with asyncio.timeout(_RECOVERS_WITHIN_S):
            recovered_at = await sky.load.until_a_write_begun_after(healed_at)
        log.recoveries_s[name].append(recovered_at - healed_at)
    except InvariantViolated as error:
        log.broken.append(Finding(name, str(error)))
    except TimeoutError:
        log.broken.append(Finding(name, f"no write was acknowledged within {_RECOVERS_WITHIN_S:.0f} s"))
    sky.load.fault = _CALM
    await sky.stage.until_complete()
    await sky.for_a_while(0.2, 1)


def _names(rng: random.Random) -> Iterator[str]:
    """Give every fault as often as it is to come, in another order each time round."""
    bag = [name for name, (times, _) in FAULTS.items() for _ in range(times)]
    while True:
        rng.shuffle(bag)
        yield from bag


def _make_key(dsn: str) -> str:
    make = partial(
        create_key,
        name="storm",
        scopes=(Scope.USERS_READ, Scope.USERS_WRITE),
        expires_at=None,
        context=AuditContext(OPERATOR),
    )

    async def work(service: Services) -> str:
        token, _ = await service.database.run(make)
        return token.value

    return run_with_services(Settings(), dsn, work)
