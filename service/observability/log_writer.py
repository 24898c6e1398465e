"""Log lines of a server, written beside its event loop."""

import atexit
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic, TextIO, TypeVar

LineT = TypeVar("LineT")

GATHER_S = 0.02
MOST_WAITING = 10_000


class Lines(Generic[LineT]):
    """A text stream that another thread writes out, many lines at once.

    A write to standard error costs as much as a tenth of a request, and a slow disk or reader would make
    every request wait. A line comes out `GATHER_S` later at most, in order, and at the end of the process;
    one that is killed loses what it said within that time. Beyond `MOST_WAITING` lines the writer waits.

    A line can be added as something else than text, which `render` makes a line of when it is written.
    """

    def __init__(self, stream: TextIO, render: Callable[[LineT], str] = str) -> None:
        self._stream = stream
        self._render = render
        self._lines: deque[str | LineT] = deque()
        self._is_filled = Event()
        self._writing = Lock()
        atexit.register(self.drain)
        Thread(target=self._work, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Take a line."""
        self.add(text)
        return len(text)

    def add(self, line: str | LineT) -> None:
        """Take a line that is text, or is to be made text later."""
        self._lines.append(line)
        if not self._is_filled.is_set():
            self._is_filled.set()
        elif len(self._lines) > MOST_WAITING:
            self.drain()

    def flush(self) -> None:
        """Leave it to the thread."""

    def drain(self) -> None:
        """Write what waits."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            render = self._render
            self._stream.write("".join(line if isinstance(line, str) else render(line) for line in lines))
            self._stream.flush()

    def _work(self) -> None:
        while True:
            self._is_filled.wait()
            time.sleep(GATHER_S)
            self._is_filled.clear()
            self.drain()
