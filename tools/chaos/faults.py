"""The registry of faults. Each begins when its function is called, and is over when it returns."""

from collections.abc import Awaitable, Callable

from tools.chaos.context import FaultContext

Fault = Callable[[FaultContext], Awaitable[None]]
FAULTS: dict[str, tuple[int, Fault]] = {}
"""How often a fault occurs in a round of all faults, and its function, by name."""


def fault(times: int = 1) -> Callable[[Fault], Fault]:
    """Register a fault under the name of its function."""

    def register(function: Fault) -> Fault:
        FAULTS[getattr(function, "__name__", "").replace("_", " ")] = (times, function)
        return function

    return register
