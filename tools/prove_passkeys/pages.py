"""The example's pages, served on loopback for a service on any port."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

from harness.service_process import ROOT

EXAMPLE: Final = ROOT / "examples/browser"
SERVICE: Final = "http://localhost:8000"
"""The address of the service in the example's files."""


def copy_example(directory: Path, service: str) -> None:
    """Copy the example's files, for a service at this address."""
    for file in EXAMPLE.iterdir():
        text = file.read_text(encoding="utf-8").replace(SERVICE, service)
        (directory / file.name).write_text(text, encoding="utf-8")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
        """Log nothing."""


@contextmanager
def pages(directory: Path) -> Iterator[str]:
    """Serve a directory until the block ends, and yield its origin.

    The name is `localhost`: browsers let pages use passkeys over plain HTTP there alone.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=directory)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
