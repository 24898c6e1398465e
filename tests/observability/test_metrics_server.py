"""Metrics on a separate port, and of workers that die."""

import os
import socket
from pathlib import Path
from typing import Any, cast

import click
import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest, values

from harness.service_process import free_port
from service.observability.metrics import SHARED_DIR, registry_of_workers
from service.observability.metrics_server import metrics_server, multiprocess_metrics, share_metrics
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


def test_worker_that_replaces_a_dead_one_goes_on_with_its_counters_in_its_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)  # restored afterwards
    with multiprocess_metrics() as mark_dead:
        for requests in (2, 3):
            share_metrics(1)
            Counter("things", "Things.", registry=CollectorRegistry()).inc(requests)
            mark_dead(1)
        files = [path.name for path in Path(os.environ[SHARED_DIR]).iterdir()]
        assert files == ["counter_1.db"]
        assert "things_total 5.0" in generate_latest(registry_of_workers()).decode()
        cast(Any, values.close_all_multiprocess_files)()


def test_multiprocess_metrics_of_a_dead_worker_keep_counters_and_drop_gauges() -> None:
    with multiprocess_metrics() as mark_dead:
        directory = Path(os.environ[SHARED_DIR])
        for name in ("counter_11.db", "gauge_livesum_11.db", "gauge_livesum_12.db"):
            (directory / name).touch()
        mark_dead(11)
        assert sorted(path.name for path in directory.iterdir()) == ["counter_11.db", "gauge_livesum_12.db"]
    assert SHARED_DIR not in os.environ
    assert not directory.exists()
