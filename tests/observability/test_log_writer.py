"""The background log writer."""

import io
import subprocess
import sys
from threading import Event

from service.observability.log_writer import MAX_QUEUED, BackgroundLogWriter

WRITE_AND_END = """
import sys
from service.observability.log_writer import BackgroundLogWriter
lines = BackgroundLogWriter(sys.stderr)
for number in range(1000):
    lines.write(f"{number}\\n")
"""


def test_exit_of_the_process_writes_every_queued_line_in_order() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WRITE_AND_END], capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stderr.split() == [str(number) for number in range(1000)]


def test_write_beyond_the_queue_limit_loses_nothing() -> None:
    stream = io.StringIO()
    lines: BackgroundLogWriter[str] = BackgroundLogWriter(stream)
    for _ in range(MAX_QUEUED + 2):
        lines.write("x")
    lines.drain()
    assert stream.getvalue() == "x" * (MAX_QUEUED + 2)


def test_write_is_flushed_by_the_thread() -> None:
    written = Event()

    class Stream(io.StringIO):
        def flush(self) -> None:
            written.set()

    BackgroundLogWriter(Stream()).write("x")
    assert written.wait(60)
