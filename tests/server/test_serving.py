import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from harness.service_process import (
    ServiceProcess,
    environment,
    postgres_processes,
    run_command,
    service_process,
)
from tests.support.api import PASSWORD


def log_in(service: ServiceProcess, login_id: str, password: str | None) -> str:
    answer = service.request("POST", "/v1/sessions", json={"login_id": login_id, "password": password})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def test_serve_in_an_empty_directory_creates_one_administrator_and_keeps_rows_across_restarts(
    tmp_path: Path,
) -> None:
    with service_process(tmp_path, PYTHONPROFILEIMPORTTIME="1") as service:
        assert has_imported_alembic(service)  # there were migrations to run
        token = log_in(service, "root", service.first_password())
        created = service.request(
            "POST",
            "/v1/users",
            token,
            {"login_id": "ada", "name": "Ada", "password": PASSWORD, "must_change": False},
        )
        assert created.status_code == 201
        check_second_instance(service, tmp_path)
        assert service.get("/health/ready").status_code == 200
        assert service.stop(signal.SIGTERM) == 0
    assert postgres_processes(tmp_path) == []

    with service_process(tmp_path, PYTHONPROFILEIMPORTTIME="1") as again:
        assert not has_imported_alembic(again)
        assert again.first_password() is None
        assert log_in(again, "ada", PASSWORD)
        kill_database(tmp_path)
        again.wait_until("/health/ready", 200)
        assert log_in(again, "ada", PASSWORD)
        assert not held_ports(postmaster(tmp_path)) & {again.port}
        assert again.stop(signal.SIGINT) == 0  # Ctrl-C
    assert postgres_processes(tmp_path) == []
    for number in (signal.SIGTERM, signal.SIGHUP):
        check_command_that_is_ended(number, tmp_path)


def kill_database(directory: Path) -> None:
    """Kill the embedded server, and wait until it was restarted."""
    killed = postmaster(directory)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    ends_at = time.monotonic() + 120
    while postmaster(directory) in (killed, None):
        assert time.monotonic() < ends_at, "not restarted"
        time.sleep(0.05)


def postmaster(directory: Path) -> int | None:
    written = state_of_database(directory)
    return int(written[0]) if written else None


def held_ports(pid: int | None) -> set[int]:
    """Return the ports on which a process listens."""
    connections = psutil.Process(pid).net_connections("tcp")
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


def has_imported_alembic(service: ServiceProcess) -> bool:
    return any(line.split("|")[-1].strip() == "alembic" for line in service.output().splitlines())


def check_second_instance(service: ServiceProcess, directory: Path) -> None:
    """Start another on the same port and database: it exits with one sentence, and the first still serves."""
    second = run_command(
        "serve",
        ROLLCALL_HTTP__PORT=service.url.rpartition(":")[2],
        ROLLCALL_DATABASE__EMBEDDED_DIR=str(directory / "postgres"),
    )
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith("Cannot listen on")


def check_command_that_is_ended(number: signal.Signals, directory: Path) -> None:
    """End a command that waits for a password: it is interrupted, and leaves no database running."""
    with subprocess.Popen(
        [sys.executable, "-m", "service", "users", "admin", "eve"],
        cwd=directory,
        env=environment(ROLLCALL_DATABASE__EMBEDDED_DIR=str(directory / "postgres")),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        while "ready" not in state_of_database(directory):
            assert waiting.poll() is None
            time.sleep(0.02)
        wait_until_asleep(waiting.pid)
        waiting.send_signal(number)
        _, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, said.split()) == (130, [b"Interrupted."])
    assert postgres_processes(directory) == []


def wait_until_asleep(pid: int) -> None:
    """Wait until a process waits for something that does not come: it is asleep each time we look."""
    asleep, process, ends_at = 0, psutil.Process(pid), time.monotonic() + 60
    while asleep < 20:
        assert time.monotonic() < ends_at
        asleep = asleep + 1 if process.status() == psutil.STATUS_SLEEPING else 0
        time.sleep(0.005)


def state_of_database(directory: Path) -> list[str]:
    file = directory / "postgres/data/postmaster.pid"
    return file.read_text().split() if file.exists() else []


def test_serve_with_wrong_settings_lists_all_of_them_and_exits_2(tmp_path: Path) -> None:
    done = run_command(
        "serve",
        ROLLCALL_HTTP__PORT="many",
        ROLLCALL_HTPP__HOST="127.0.0.1",
        DATABASE_URL="mysql://ada:canary-password@localhost/db",
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "canary-password" not in done.stderr
    for name in ("ROLLCALL_HTTP__PORT", "ROLLCALL_HTPP__HOST", "DATABASE_URL"):
        assert name in done.stderr


def test_make_without_target_lists_the_targets() -> None:
    root = Path(__file__).resolve().parents[2]
    listed = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True)
    assert "make run" in listed.stdout
    assert "make migrate" in listed.stdout
