"""The files an operator deploys hold what the documentation promises of them."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from service.observability.metrics import RequestTelemetry
from service.observability.stats import HashingStats, MetricsSnapshot, PoolStats
from settings.root import Settings
from settings.values import parse_duration
from settings.variables import setting_variables

yaml: Any = import_module("yaml")  # comes without types
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def _compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def _pods() -> list[dict[str, Any]]:
    documents = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]
    return [each["spec"]["template"]["spec"] for each in documents if "template" in each["spec"]]


def test_read_compose_file_names_only_settings_that_exist() -> None:
    known = {*setting_variables(Settings)}
    environment = _compose()["x-rollcall"]["environment"] | _compose()["services"]["service"]["environment"]
    assert set(environment) - {"<<"} <= known


def test_read_compose_file_asks_for_no_variable_that_the_service_would_refuse() -> None:
    """Compose reads `.env` as the service does, which refuses what looks like a setting and is none."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert {name for name in asked if name.startswith("ROLLCALL_")} <= set(setting_variables(Settings))


def test_read_manifests_names_only_settings_that_exist() -> None:
    known = setting_variables(Settings)
    names = {each["name"] for pod in _pods() for each in pod["containers"][0].get("env", [])}
    named = re.findall(r"--from-literal=([A-Z_]+)=", (DEPLOY / "kubernetes/rollcall.yaml").read_text())
    assert names | set(named) <= set(known)


def test_compose_runs_the_service_confined_and_after_the_migration() -> None:
    services = _compose()["services"]
    service = services["service"]
    assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["command"] == ["database", "migrate"]
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]  # from 18 on, not …/data
    for name in ("service", "migrate"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    assert {"pgbouncer", "mailpit", "prometheus", "grafana"} == {
        name for name, each in services.items() if "profiles" in each
    }


def test_stop_by_compose_leaves_time_to_drain() -> None:
    service = _compose()["services"]["service"]
    environment = service["environment"]
    delay, timeout = (
        parse_duration(environment[f"ROLLCALL_HTTP__DRAIN_{part}"]) for part in ("DELAY", "TIMEOUT")
    )
    assert parse_duration(service["stop_grace_period"]) > delay + timeout


@pytest.mark.parametrize("index", range(2))
def test_read_manifests_confines_every_pod(index: int) -> None:
    pod = _pods()[index]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["enableServiceLinks"] is False  # else ROLLCALL_PORT is set, which is no setting
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


def test_build_image_takes_no_secret_and_no_history_along() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    wanted = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == wanted


def test_run_image_runs_as_nobody_in_particular() -> None:
    final = (ROOT / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert "--require-hashes" in (ROOT / "Containerfile").read_text()


def test_ask_dashboard_and_alerts_use_metrics_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/rollcall.json").read_text())
    policies = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for rule in policies]
    names = {name for expression in asked for name in re.findall(r"\b([a-z_]+)\{", expression)} - {"up"}
    assert names
    assert names <= _exposed()


def _exposed() -> set[str]:
    hashing = HashingStats(1, 0, 0.0, 0, 0, 0)
    telemetry = RequestTelemetry(
        lambda: MetricsSnapshot(hashing, (PoolStats("read", 0, 0, 1, 0),), 1, {"answered": 0})
    )
    text = generate_latest(telemetry.registry).decode()
    exposed = set(re.findall(r"^([a-z_]+)", text, re.MULTILINE))
    histograms = re.findall(r"^# TYPE (\S+) histogram$", text, re.MULTILINE)
    return exposed | {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
