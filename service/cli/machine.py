"""Make what a process takes from its shell the same for every command, on every machine."""

import os
import sys
from io import TextIOWrapper

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


def _open_closed_streams() -> None:
    """Write nowhere if a standard stream is closed: the next file to be opened would be taken for it."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8"))
