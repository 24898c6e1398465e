"""Serve a peer as Rollcall is served: one worker, uvloop, httptools, no access log of the server."""

import os
from typing import Any

import uvicorn

DSN = os.environ["DATABASE_URL"]
POOL_SIZE = 10


def serve(app: Any) -> None:
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
    )
