"""Write log lines on a thread of their own, off the event loop."""

import atexit
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic, TextIO, TypeVar

EntryT = TypeVar("EntryT")

FLUSH_INTERVAL_S = 0.02
MAX_QUEUED = 10_000


class BackgroundLogWriter(Generic[EntryT]):
    """A text stream whose lines a thread writes in batches.

    A write to standard error costs up to a tenth of a request, and a slow disk or reader would delay every
    request. A line is written in order and at most `FLUSH_INTERVAL_S` later, or at exit; a killed process
    loses the lines of that interval. With more than `MAX_QUEUED` lines queued, the caller writes them itself.

    An entry that is not text is rendered by the thread.
    """

    def __init__(self, stream: TextIO, render: Callable[[EntryT], str] = str) -> None:
        self._stream = stream
        self._render = render
        self._queue: deque[str | EntryT] = deque()
        self._is_filled = Event()
        self._writing = Lock()
        atexit.register(self.drain)
        Thread(target=self._work, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Queue text."""
        self.add(text)
        return len(text)

    def add(self, entry: str | EntryT) -> None:
        """Queue text, or an entry to render."""
        self._queue.append(entry)
        if not self._is_filled.is_set():
            self._is_filled.set()
        elif len(self._queue) > MAX_QUEUED:
            self.drain()

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def drain(self) -> None:
        """Write everything that is queued."""
        with self._writing:
            entries = [self._queue.popleft() for _ in range(len(self._queue))]
            render = self._render
            text = "".join(entry if isinstance(entry, str) else render(entry) for entry in entries)
            self._stream.write(text)
            self._stream.flush()

    def _work(self) -> None:
        while True:
            self._is_filled.wait()
            time.sleep(FLUSH_INTERVAL_S)
            self._is_filled.clear()
            self.drain()
