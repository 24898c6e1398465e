"""Serve: migrate if configured, create the first administrator, run the workers."""

import asyncio
import socket
import sys
from datetime import timedelta
from typing import Final

import click
import structlog

from service.app import Application, create_app
from service.db.migrations.probe import DatabaseState, probe
from service.jobs.delivery import check_templates
from service.observability.logging import configure_server_logs
from service.observability.metrics import registry_of_workers
from service.observability.metrics_server import metrics_server, multiprocess_metrics, share_metrics
from service.server.connections import raise_open_files_limit
from service.server.first_admin import ensure_first_admin
from service.server.gc import tune_gc
from service.server.supervisor import Supervisor
from service.server.uvicorn_server import bind_socket, make_server
from service.services import explaining_database_errors
from settings import Settings, get_settings

_log = structlog.get_logger("rollcall")
_DRAIN_MARGIN: Final = timedelta(seconds=5)
"""How long a worker may take to end beyond its drain time before it is killed."""


def run(settings: Settings, dsn: str) -> None:
    """Serve on the database at this DSN until SIGTERM or SIGINT."""
    check_templates(settings)
    is_embedded = settings.database.dsn is None
    state = asyncio.run(probe(dsn)) if is_embedded else DatabaseState()
    if settings.migrates_on_start and (settings.migrations_dsn or not state.is_at_head):
        _migrate(settings, settings.migrations_dsn or dsn)
    if is_embedded and not state.has_accounts:
        ensure_first_admin(settings, dsn)
    if settings.http.workers == 1:
        app = create_app(settings, dsn=dsn)
        with bind_socket(settings) as listener, metrics_server(settings, app.telemetry.registry):
            _serve(app, listener)
    else:
        _serve_with_workers(settings, dsn)


def _migrate(settings: Settings, dsn: str) -> None:
    """Upgrade the schema to this release's head, and log each step."""
    # These import Alembic, which a start seldom needs (ADR 14).
    from service.db.migrations.lock_retry import LockRetryPolicy
    from service.db.migrations.running import MigrationFailed, grant_rights, migrate

    lock_retry = LockRetryPolicy(settings.migrations.lock_timeout, settings.migrations.deadline)
    with explaining_database_errors(settings.migrations_dsn, settings.migrations_variable):
        try:
            migrate(dsn, "head", upward=True, lock_retry=lock_retry, report=_log_step)
        except MigrationFailed as error:
            raise click.ClickException(f"The schema could not be migrated: {error}") from error
        if role := settings.migrations.serving_role:
            asyncio.run(grant_rights(dsn, role, lock_retry, _log_step))


def _log_step(step: str) -> None:
    _log.info("migrating", step=step)


def _serve(app: Application, listener: socket.socket) -> None:
    raise_open_files_limit(app.services.settings.http.connections)
    make_server(app, on_started=tune_gc).run(sockets=[listener])


def _serve_with_workers(settings: Settings, dsn: str) -> None:
    """Serve with several processes that share a socket."""
    drain_timeout = settings.http.drain_delay + settings.http.drain_timeout + _DRAIN_MARGIN
    with (
        bind_socket(settings) as listener,
        multiprocess_metrics() as on_worker_exit,
        metrics_server(settings, registry_of_workers()),
    ):
        Supervisor(
            serve_as_worker,
            count=settings.http.workers,
            dsn=dsn,
            listener=listener,
            drain_timeout_s=drain_timeout.total_seconds(),
            on_worker_exit=on_worker_exit,
        ).run()


def serve_as_worker(slot: int, dsn: str, listener: socket.socket) -> None:
    """Serve as one of several processes that share the socket; fail as a command does."""
    settings = get_settings()
    configure_server_logs(settings)
    share_metrics(slot)
    try:
        _serve(create_app(settings, dsn=dsn), listener)
    except click.ClickException as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
