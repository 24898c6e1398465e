"""Log lines of a server, written beside its event loop."""

import atexit
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic, TextIO, TypeVar

LineT = TypeVar("LineT")

FLUSH_INTERVAL_S = 0.02
MAX_QUEUED = 10_000


class BackgroundLogWriter(Generic[LineT]):
    """A text stream that another thread writes out, many lines at once.

    A write to standard error costs as much as a tenth of a request, and a slow disk or reader would make
    every request wait. A line is written at most `FLUSH_INTERVAL_S` later, in order, and at exit; a process
    that is killed loses the lines of that time. Beyond `MAX_QUEUED` lines the caller writes them itself.

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
        elif len(self._lines) > MAX_QUEUED:
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
            time.sleep(FLUSH_INTERVAL_S)
            self._is_filled.clear()
            self.drain()
