"""What a process takes from its shell: made the same for every command, on every machine."""

import os
import sys
from io import TextIOWrapper

from settings.libpq import discard_libpq_variables

_WRITABLE_BY_OTHERS = 0o002


def prepare_process() -> None:
    """Ignore libpq's variables, write nothing that others may change, and print in any locale."""
    discard_libpq_variables()
    os.umask(os.umask(0) | _WRITABLE_BY_OTHERS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
