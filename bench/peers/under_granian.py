"""Serve Rollcall under granian, as `python -m service serve` does under uvicorn."""

import os

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

from service.app import Application, create_app
from service.observability.logging import configure_server_logs
from service.server.gc import tune_gc
from service.server.uvicorn_server import BACKLOG
from settings import get_settings


def application() -> Application:
    """Make the application in the worker, with the log and the garbage collector of a serving process."""
    settings = get_settings()
    configure_server_logs(settings)
    made = create_app(settings)
    tune_gc()
    return made


if __name__ == "__main__":
    Granian(
        f"{__spec__.name}:application",
        factory=True,
        interface=Interfaces.ASGI,
        port=int(os.environ["PORT"]),
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
    ).serve()
