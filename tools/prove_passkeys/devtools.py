"""A browser that is driven over the DevTools protocol, through a pair of pipes."""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 10.0
_MAX_READ_BYTES: Final = 1 << 16
_ABOVE_THE_BROWSERS: Final = 10
"""The browser takes descriptors 3 and 4 for its end of the pipes; ours must not be these."""
_WITH_PIPES: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    "os.execv(sys.argv[3], sys.argv[3:])"
)


class BrowserFailed(Exception):
    """The browser ended, refused a command, or took too long."""


class Pipe:
    """Sends commands and waits for their results. Events are dropped."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._ids = count(1)
        self._received = b""

    def call(self, method: str, session: str | None = None, /, **parameters: object) -> dict[str, Any]:
        """Send a command, and return its result.

        Raises: BrowserFailed.
        """
        number = next(self._ids)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        self._send(message if session is None else {**message, "sessionId": session})
        ends_at = time.monotonic() + _TIMEOUT_S
        while (received := self._receive(ends_at, method)).get("id") != number:
            pass
        if "error" in received:
            raise BrowserFailed(f"{method}: {received['error']['message']}")
        result: dict[str, Any] = received["result"]
        return result

    def _send(self, message: Mapping[str, object]) -> None:
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._writing, rest) :]

    def _receive(self, ends_at: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._reading], [], [], max(0, ends_at - time.monotonic()))
            if not ready:
                raise BrowserFailed(f"{method}: no result within {_TIMEOUT_S:.0f} s")
            if not (read := os.read(self._reading, _MAX_READ_BYTES)):
                raise BrowserFailed(f"{method}: the browser has ended")
            self._received += read
        message, _, self._received = self._received.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def browser(executable: str, profile: Path, log: Path, *options: str) -> Iterator[Pipe]:
    """Run a Chromium until the block ends, with a profile of its own.

    Raises: BrowserFailed when it cannot be started.
    """
    command = [executable, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", *options]
    if os.geteuid() == 0:  # its sandbox refuses to run as root
        command.append("--no-sandbox")
    with _pipes() as (theirs, ours), log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WITH_PIPES, *map(str, theirs), *command],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        for descriptor in theirs:
            os.close(descriptor)
        pipe = Pipe(*ours)
        try:
            yield pipe
        finally:
            _stop(process, pipe)


def _stop(process: subprocess.Popen[bytes], pipe: Pipe) -> None:
    """Close the browser in order, so that no process of it stays; kill it if it does not follow."""
    with suppress(BrowserFailed, OSError):
        pipe.call("Browser.close")
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _pipes() -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield the browser's ends (to read from, to write to), and ours; ours are closed afterwards."""
    to_browser, from_browser = os.pipe(), os.pipe()
    theirs = [_moved(to_browser[0]), _moved(from_browser[1])]
    ours = [from_browser[0], to_browser[1]]
    try:
        yield theirs, ours
    finally:
        for descriptor in ours:
            os.close(descriptor)


def _moved(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_THE_BROWSERS)
    os.close(descriptor)
    return moved
