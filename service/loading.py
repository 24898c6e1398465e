"""Importing late: the one way in which the command line imports what not every run of it needs.

Modules import each other at their top, here as everywhere. What may be left out or has to wait is a module
of its own, named to `load` by whoever decides that it is needed now.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def load(module: str, name: str) -> Any:
    """Import a module, if it was not yet, and give what it defines under this name."""
    return getattr(import_module(module), name)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the garbage collector away from what is made in the block, for as long as the process lives.

    Imports make a hundred thousand objects that stay and next to no garbage: looking for it while they are
    made, and again before the service is ready, was an eighth of the start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
