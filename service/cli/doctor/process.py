"""Checks of the settings and of the machine."""

import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from service import __version__
from service.cli.doctor.findings import Finding, problem, warning
from service.security.hashing.system_limits import available_cores, default_workers, memory_limit_bytes
from settings import Settings
from settings.libpq import discard_libpq_variables

_MIB = 1024 * 1024
_BASE_MIB = 110
"""Memory of a worker process without hashing."""


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Check valid settings for what is seldom wanted."""
    yield Finding("release", f"Rollcall {__version__}, Python {platform.python_version()}")
    if settings.profile == "test":
        yield warning("profile", "test: password hashes are cheap", "Unset ROLLCALL_PROFILE.")
    yield from _check_exposure(settings)
    if settings.database.dsn is not None and (ignored := discard_libpq_variables()):
        yield warning("environment", f"No effect: {', '.join(ignored)}.", "Say it in DATABASE_URL.")
    dotenv = Path(".env")
    if dotenv.is_file() and dotenv.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warning("permissions", "Other users of this machine can read .env.", "chmod 600 .env")


def _check_exposure(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if not http.is_loopback and not http.trusted_proxies:
        yield warning(
            "proxies",
            "No proxy is trusted: behind one, all clients count as one network in the throttle.",
            "Set ROLLCALL_HTTP__TRUSTED_PROXIES if there is a proxy.",
        )
    if not http.is_loopback and settings.serves_metrics_beside_api:
        yield warning("metrics", "/metrics is as public as the API.", "Set ROLLCALL_METRICS__PORT.")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Check that hashing fits into cores and memory."""
    yield _check_memory(settings)
    workers, cores = settings.http.workers, available_cores()
    if workers > cores:
        yield warning("cores", f"{workers} workers on {cores} cores", "Lower ROLLCALL_HTTP__WORKERS.")
    else:
        yield Finding("cores", str(cores))
    if sys.platform == "linux" and os.geteuid() == 0:
        yield warning("user", "This runs as root.", "Run it as an ordinary user.")


def _check_memory(settings: Settings) -> Finding:
    passwords, workers, limit_bytes = settings.passwords, settings.http.workers, memory_limit_bytes()
    threads = passwords.workers or default_workers(passwords.memory_kib, available_cores(), limit_bytes)
    needed_mib = workers * (_BASE_MIB + threads * passwords.memory_kib // 1024)
    seen = (
        f"{workers} × {threads} concurrent hashes of {passwords.memory_kib // 1024} MiB need {needed_mib} MiB"
    )
    if limit_bytes is None:
        return Finding("memory", f"{seen}; the memory of the machine is unknown")
    seen = f"{seen} of {limit_bytes // _MIB}"
    if needed_mib * _MIB > limit_bytes:
        cure = "Lower ROLLCALL_HTTP__WORKERS or ROLLCALL_PASSWORDS__WORKERS, or add memory."
        return problem("memory", seen, cure)
    return Finding("memory", seen)
