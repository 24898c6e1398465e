"""Make what a process takes from its shell the same for every command, on every machine."""

import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType

from settings.libpq import discard_libpq_variables

_WRITABLE_BY_OTHERS = 0o002


def prepare_process() -> None:
    """Ignore libpq's variables, write nothing that others may change, and print in any locale."""
    discard_libpq_variables()
    _open_closed_streams()
    os.umask(os.umask(0) | _WRITABLE_BY_OTHERS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def interrupt_on_termination() -> None:
    """Make SIGTERM, and the SIGHUP of a terminal that closes, unwind the process like Ctrl-C.

    Otherwise an embedded database would be left running. A signal that is ignored stays so (`nohup`).
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    # In an event loop, asyncio's own handler of Ctrl-C waits for a safe moment: an exception could fall
    # between the acquisition of a lock and the block that releases it.
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _open_closed_streams() -> None:
    """Write nowhere if a standard stream is closed: the next file to be opened would be taken for it."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8"))
