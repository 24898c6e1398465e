"""Metrics on a separate port, and of workers that die."""

import os
import socket
from pathlib import Path

import click
import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from harness.service_process import free_port
from service.observability.metrics import SHARED_DIR
from service.observability.metrics_server import metrics_server, multiprocess_metrics
from settings.metrics import MetricsSettings
from tests.support.settings import settings_for_tests


def test_metrics_server_serves_until_the_end_of_the_block() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    settings = settings_for_tests(metrics=MetricsSettings(port=free_port()))
    url = f"http://127.0.0.1:{settings.metrics.port}/metrics"

    with metrics_server(settings, registry):
        assert "things_total 1.0" in httpx.get(url, trust_env=False).text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_metrics_server_that_is_switched_off_does_not_listen() -> None:
    settings = settings_for_tests(metrics=MetricsSettings(enabled=False, port=free_port()))
    with (
        metrics_server(settings, CollectorRegistry()),
        pytest.raises(httpx.ConnectError),
    ):
        httpx.get(f"http://127.0.0.1:{settings.metrics.port}/metrics")


def test_metrics_server_on_a_taken_port_raises_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for_tests(metrics=MetricsSettings(port=taken.getsockname()[1]))
        with (
            pytest.raises(click.ClickException, match="Cannot listen"),
            metrics_server(settings, CollectorRegistry()),
        ):
            pass


def test_multiprocess_metrics_of_a_dead_worker_keep_counters_and_drop_gauges() -> None:
    with multiprocess_metrics() as mark_dead:
        directory = Path(os.environ[SHARED_DIR])
        for name in ("counter_11.db", "gauge_livesum_11.db", "gauge_livesum_12.db"):
            (directory / name).touch()
        mark_dead(11)
        assert sorted(path.name for path in directory.iterdir()) == ["counter_11.db", "gauge_livesum_12.db"]
    assert SHARED_DIR not in os.environ
    assert not directory.exists()
