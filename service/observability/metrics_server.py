"""Serve metrics on a separate port, and share them between worker processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, cast

import click
from prometheus_client import CollectorRegistry, start_http_server, values
from prometheus_client.multiprocess import mark_process_dead

from service.observability.metrics import SHARED_DIR
from settings import Settings

_CANNOT_LISTEN = "Cannot listen on {host}, port {port}, for metrics: {reason}."


@contextmanager
def metrics_server(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serve metrics during the block if they have a separate port.

    Raises: click.ClickException if the port cannot be bound.
    """
    port = settings.metrics.separate_port
    if port is None:
        yield
        return
    host = settings.metrics.host or settings.http.host
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        reason = error.strerror
        raise click.ClickException(_CANNOT_LISTEN.format(host=host, port=port, reason=reason)) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def multiprocess_metrics() -> Iterator[Callable[[int], None]]:
    """Share the metrics of worker processes started in the block; yield a function for slots of dead ones."""
    with TemporaryDirectory(prefix="rollcall-metrics-") as directory:
        os.environ[SHARED_DIR] = directory
        try:
            yield partial(_mark_dead, directory)
        finally:
            del os.environ[SHARED_DIR]


def share_metrics(slot: int) -> None:
    """Keep the metrics that this worker creates from now on in the files of its slot.

    The worker that replaces a dead one goes on with its counters: their sum never falls, and no files of dead
    processes pile up.
    """
    values.ValueClass = cast(Any, values.MultiProcessValue)(lambda: slot)  # the library leaves it untyped


def _mark_dead(directory: str, slot: int) -> None:
    """Remove the gauges of a worker and keep its counters."""
    cast(Any, mark_process_dead)(slot, directory)
