"""Metrics of several worker processes, and on a port of their own."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, cast

import click
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import mark_process_dead

from service.observability.metrics import SHARED_DIR
from settings import Settings

_CANNOT_LISTEN = "Cannot listen on {host}, port {port}, for metrics: it is in use or not of this machine."


@contextmanager
def metrics_server(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Answer on the port that was chosen for metrics, if one was, for as long as the block runs."""
    chosen = settings.metrics
    if not chosen.enabled or chosen.port is None:
        yield
        return
    host = chosen.host or settings.http.host
    try:
        server, thread = start_http_server(chosen.port, addr=host, registry=registry)
    except OSError:
        raise click.ClickException(_CANNOT_LISTEN.format(host=host, port=chosen.port)) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def multiprocess_metrics() -> Iterator[Callable[[int], None]]:
    """Let the worker processes that start in the block add up; gives what to call when one has ended."""
    with TemporaryDirectory(prefix="rollcall-metrics-") as directory:
        os.environ[SHARED_DIR] = directory
        try:
            yield partial(_forget, directory)
        finally:
            del os.environ[SHARED_DIR]


def _forget(directory: str, pid: int) -> None:
    """Take a worker's gauges away; what it counted stays."""
    cast(Any, mark_process_dead)(pid, directory)  # the library leaves it untyped
