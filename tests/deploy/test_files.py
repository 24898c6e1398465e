"""The files an operator deploys hold what the documentation promises of them."""

import json
import re
import subprocess
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client import generate_latest

from service.observability.metrics import RequestTelemetry
from service.observability.stats import HashingStats, MetricsSnapshot, PoolStats
from settings.dsn import normalise_dsn
from settings.root import Settings
from settings.values import parse_duration, parse_keys
from settings.variables import setting_variables

yaml: Any = import_module("yaml")  # comes without types
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def _compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def _manifests() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def _pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in _manifests() if "template" in each["spec"]]


def test_read_compose_file_names_only_settings_that_exist() -> None:
    known = {*setting_variables(Settings)}
    services = [_compose()["services"][name] for name in ("service", "migrate")]
    for service in services:
        assert set(service["environment"]) | {each["target"] for each in service["secrets"]} <= known


def test_compose_passes_every_secret_as_a_file_and_none_of_the_superuser_to_the_service() -> None:
    """Source: OWASP ASVS 5.0 13.3.1, 13.2.2."""
    compose = _compose()
    text = (ROOT / "compose.yaml").read_text()
    assert not re.findall(r"\$\{\w*(?:PASSWORD|SECRET|KEY)\w*|://\w+:", text)
    used = {name: _secrets_of(service) for name, service in compose["services"].items()}
    assert used["service"] == {"app_url", "secrets_key"}
    assert used["migrate"] == {"owner_url"}
    assert [name for name, secrets in used.items() if "postgres_password" in secrets] == ["postgres"]
    assert set().union(*used.values()) == set(compose["secrets"])


def test_make_secrets_writes_the_files_of_the_compose_file_for_its_owner_alone(tmp_path: Path) -> None:
    script, directory = str(DEPLOY / "compose/make-secrets"), tmp_path / "secrets"
    for _ in range(2):  # the second changes nothing
        subprocess.run([script, str(directory)], check=True, capture_output=True)
        written = {path.name: path.read_text() for path in directory.iterdir()}
        named = {Path(each["file"]).name for each in _compose()["secrets"].values()}
        assert {name.partition("_${")[0] for name in named} <= {
            name.removesuffix("_postgres").removesuffix("_pgbouncer") for name in written
        }
        assert directory.stat().st_mode & 0o777 == 0o700
    assert len({text for name, text in written.items() if name.endswith("password")}) == 4
    assert len(parse_keys(written["secrets_key"].strip())) == 1
    assert normalise_dsn(written["app_url_postgres"]).endswith("@postgres:5432/rollcall")
    assert written["app_password"].strip() in written["app_url_pgbouncer"]


def test_make_secrets_adds_the_key_to_the_directory_of_an_earlier_version(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "app_password").write_text("kept")
    subprocess.run([str(DEPLOY / "compose/make-secrets"), str(directory)], check=True, capture_output=True)
    assert {path.name for path in directory.iterdir()} == {"app_password", "secrets_key"}
    assert (directory / "app_password").read_text() == "kept"
    assert len(parse_keys((directory / "secrets_key").read_text().strip())) == 1


def test_compose_makes_both_roles_and_grants_the_one_that_serves_its_rights() -> None:
    script = (DEPLOY / "compose/init-roles.sh").read_text()
    assert set(re.findall(r"CREATE ROLE (\w+) LOGIN", script)) == {"rollcall_owner", "rollcall_app"}
    migrate = _compose()["services"]["migrate"]
    assert migrate["environment"]["ROLLCALL_MIGRATIONS__SERVING_ROLE"] == "rollcall_app"
    mounted = _compose()["services"]["postgres"]["volumes"]
    assert "./deploy/compose/init-roles.sh:/docker-entrypoint-initdb.d/init-roles.sh:ro" in mounted


def test_compose_keeps_rows_out_of_the_log_of_postgresql() -> None:
    """Source: OWASP ASVS 5.0 16.2.5."""
    command = _compose()["services"]["postgres"]["command"]
    assert {"-clog_error_verbosity=terse", "-clog_parameter_max_length_on_error=0"} <= set(command)


def test_compose_pins_every_image_and_publishes_on_loopback_alone() -> None:
    services = _compose()["services"].values()
    images = [each["image"] for each in services if not each["image"].startswith("$")]
    assert [image for image in images if not re.search(r":v?\d+\.\d+|@sha256:", image)] == []
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    ports = [port for each in services for port in each.get("ports", ())]
    assert all(re.match(r"(?:\$\{[A-Z_]+:-)?127\.0\.0\.1:", port) for port in ports)


def test_compose_builds_the_file_that_exists() -> None:
    """Docker takes a `Dockerfile` where none is named."""
    builds = [each["build"] for each in _compose()["services"].values() if "build" in each]
    assert builds
    assert all((ROOT / build["context"] / build["dockerfile"]).is_file() for build in builds)


def test_scrape_asks_the_port_of_the_metrics_alone() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"][0]["dns_sd_configs"]
    environment = _compose()["services"]["service"]["environment"]
    assert str(scraped["port"]) == environment["ROLLCALL_METRICS__PORT"]


def _secrets_of(service: dict[str, Any]) -> set[str]:
    return {each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())}


def test_read_compose_file_asks_for_no_variable_that_the_service_would_reject() -> None:
    """Compose reads `.env` as the service does, which refuses what looks like a setting and is none."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert {name for name in asked if name.startswith("ROLLCALL_")} <= set(setting_variables(Settings))


def test_read_manifests_names_only_settings_that_exist() -> None:
    known = setting_variables(Settings)
    names = {each["name"] for pod in _pods() for each in pod["containers"][0].get("env", [])}
    named = re.findall(r"--from-file=([A-Z_]+)=", (DEPLOY / "kubernetes/rollcall.yaml").read_text())
    assert len(named) == 2
    assert names | set(named) <= set(known)


def test_read_manifests_trusts_no_proxy_and_mounts_secrets_as_files() -> None:
    """Source: OWASP ASVS 5.0 4.1.3, 13.3.1."""
    for pod in _pods():
        container = pod["containers"][0]
        assert "envFrom" not in container
        assert "ROLLCALL_HTTP__TRUSTED_PROXIES" not in {each["name"] for each in container["env"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["secrets"] == "/run/secrets"
        assert [volume["name"] for volume in pod["volumes"] if "secret" in volume] == ["secrets"]


def test_read_manifests_allows_traffic_only_from_and_to_what_needs_it() -> None:
    """Source: OWASP ASVS 5.0 13.2.4."""
    policies = [each["spec"] for each in _manifests() if each["kind"] == "NetworkPolicy"]
    assert [spec for spec in policies if spec["podSelector"] == {}] == [
        {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ]
    allowed = {
        direction: {
            port["port"] for spec in policies for rule in spec.get(direction, ()) for port in rule["ports"]
        }
        for direction in ("ingress", "egress")
    }
    assert allowed == {"ingress": {8000, 9100}, "egress": {53, 5432}}
    assert all("from" in rule for spec in policies for rule in spec.get("ingress", ()))
    assert all("to" in rule for spec in policies for rule in spec.get("egress", ()))


def test_compose_runs_the_service_confined_and_after_the_migration() -> None:
    services = _compose()["services"]
    service = services["service"]
    assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["command"] == ["database", "migrate"]
    assert services["postgres"]["volumes"][0] == "postgres:/var/lib/postgresql"  # from 18 on, not …/data
    for name in ("service", "migrate"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    assert {"pgbouncer", "mailpit", "prometheus", "grafana"} == {
        name for name, each in services.items() if "profiles" in each
    }


def test_check_of_a_container_obeys_no_proxy() -> None:
    check = _compose()["services"]["service"]["healthcheck"]["test"]
    assert check == ["CMD", "python", "-m", "service.healthcheck", "ready"]
    image = re.findall(r"^ +CMD (\[.+\])$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert [json.loads(each) for each in image] == [["python", "-m", "service.healthcheck", "live"]]


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


def test_build_image_leaves_out_what_only_developers_run() -> None:
    """Source: OWASP ASVS 5.0 15.2.3."""
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", _containerfile(), re.MULTILINE))
    assert not {"tests", "tools", "harness", "bench", "testkit"} & set(copied.split())
    removed = re.findall(r"pip uninstall (.+)$", _containerfile(), re.MULTILINE)
    assert {"faker", "polyfactory", "pip"} <= set(" ".join(removed).split())


def test_build_image_installs_everything_by_hash() -> None:
    """Source: OWASP ASVS 5.0 15.1.2."""
    text = _containerfile().replace("\\\n", " ")
    installs = re.findall(r"pip (?:install|wheel) [^&;]+", text)
    assert len(installs) == 4
    assert [each for each in installs if "--require-hashes" not in each and "/wheels/" not in each] == []
    assert "--no-build-isolation" in text


def test_lock_names_the_extras_that_locked_packages_ask_of_each_other() -> None:
    """Otherwise pip 23 finds the newest release first, which the lock does not have, and gives up."""
    locked = (ROOT / "requirements/lint.txt").read_text()
    asked = {
        f"{canonicalize_name(wanted.name)}[{','.join(sorted(wanted.extras))}]=="
        for package in metadata.distributions()
        for wanted in map(Requirement, package.requires or ())
        if wanted.extras and (wanted.marker is None or wanted.marker.evaluate({"extra": ""}))
    }
    assert {each for each in asked if f"\n{each}" not in locked} == set()
    assert asked


def test_build_requirements_pin_what_the_sources_of_argon2_need() -> None:
    pinned = (ROOT / "requirements/build.txt").read_text()
    assert {"cmake", "ninja", "scikit-build-core", "setuptools-scm"} <= set(
        re.findall(r"^([a-z-]+)==", pinned, re.MULTILINE)
    )
    assert all(block.count("--hash=sha256:") for block in re.split(r"\n(?=[a-z-]+==)", pinned))


def test_audit_workflow_checks_runtime_and_build_requirements() -> None:
    """Source: OWASP ASVS 5.0 15.1.1, 15.1.2."""
    workflow = (ROOT / ".github/workflows/audit.yml").read_text()
    assert "schedule:" in workflow
    assert re.search(r"pip-audit==\S+ .*-r requirements/runtime.txt -r requirements/build.txt", workflow)
    assert re.search(r"cyclonedx-bom==\S+ cyclonedx-py environment", workflow)
    assert len(re.findall(r"\| \d+ days", (ROOT / "SECURITY.md").read_text())) >= 4


def _containerfile() -> str:
    return (ROOT / "Containerfile").read_text()


def test_image_runs_as_a_numeric_user_other_than_root() -> None:
    final = (ROOT / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert "--require-hashes" in (ROOT / "Containerfile").read_text()


def test_call_dashboard_and_alerts_use_metrics_that_exist() -> None:
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
