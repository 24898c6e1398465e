"""Fuzz a service on an embedded PostgreSQL of its own with everything that the document allows and forbids.

Exit status 0: no response was a 5xx, and every response was a documented one.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from harness.service_process import ServiceProcess, run_command, service_process
from tools.fuzz import ROLES, schemathesis_command, schemathesis_environment

SCOPES: Final = ["users:read", "users:write", "admins:write", "sessions:introspect", "events:read"]
PASSWORD: Final = "mauve otter sings at dawn"
SESSIONS: Final = 40
MIN_ROUND_S: Final = 20


def main() -> int:
    """Fuzz in each role in turn until the time is over, at least once in each."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz")
    parser.add_argument("--minutes", type=float, default=5)
    ends_at = time.monotonic() + parser.parse_args().minutes * 60
    with (
        tempfile.TemporaryDirectory(prefix="rollcall-fuzz-") as directory,
        service_process(
            Path(directory),
            ROLLCALL_THROTTLE__NETWORK_PER_MINUTE="10000",
            ROLLCALL_THROTTLE__NETWORK_PER_HOUR="100000",
        ) as service,
    ):
        failures, number = 0, 0
        while number < len(ROLES) or ends_at - time.monotonic() > MIN_ROUND_S:
            left_s = max(ends_at - time.monotonic(), MIN_ROUND_S)
            rounds_left = max(len(ROLES) - number, 1)
            role = list(ROLES)[number % len(ROLES)]
            failures += fuzz(service, role, Path(directory), number, left_s / rounds_left)
            number += 1
        server_errors = count_5xx(service)
    print_result(f"{number} rounds, {failures} with failures, {server_errors} responses with 5xx.")
    return 1 if failures or server_errors else 0


def fuzz(service: ServiceProcess, role: str, directory: Path, number: int, seconds: float) -> int:
    """Fuzz in one role; return 1 if a check failed."""
    tokens = tokens_for(service, role, directory, number)
    examples = 20 * (1 + number // len(ROLES))
    options = ["--max-examples", str(examples), "--max-time", str(int(seconds))]
    options += ["--continue-on-failure", "--generation-database", "none"]
    done = subprocess.run(  # noqa: S603 - the command is ours
        schemathesis_command(service.url, role, *options),
        env=schemathesis_environment(tokens),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^.*generated.*$", done.stdout, re.MULTILINE)
    print_result(f"{role}: {found[0].strip() if found else 'no result'}")
    if done.returncode:
        print_result(done.stdout[-20_000:] + done.stderr[-5_000:])
    return int(bool(done.returncode))


def tokens_for(service: ServiceProcess, role: str, directory: Path, number: int) -> list[str]:
    """Create an account or a key for a round, with enough tokens to lose some."""
    root = f"root{number}"
    create_admin(root, directory)
    admin = log_in(service, root)
    if role == "key":
        body = {"name": "fuzz", "scopes": SCOPES}
        return [service.request("POST", "/v1/keys", admin, body).raise_for_status().json()["key"]]
    login_id = root
    if role == "user":
        login_id = f"user{number}"
        new = {"login_id": login_id, "name": "Somebody", "password": PASSWORD, "must_change": False}
        service.request("POST", "/v1/users", admin, new).raise_for_status()
    return [log_in(service, login_id) for _ in range(SESSIONS)]


def log_in(service: ServiceProcess, login_id: str) -> str:
    """Open a session and return its token."""
    opened = service.request("POST", "/v1/sessions", json={"login_id": login_id, "password": PASSWORD})
    token: str = opened.raise_for_status().json()["token"]
    return token


def create_admin(login_id: str, directory: Path) -> None:
    """Create an administrator on the command line, which works next to a running service."""
    postgres = str(directory / "postgres")
    done = run_command(
        "users", "admin", login_id, stdin=f"{PASSWORD}\n", ROLLCALL_DATABASE__EMBEDDED_DIR=postgres
    )
    if done.returncode:
        raise RuntimeError(f"no administrator could be created: {done.stderr}")


def count_5xx(service: ServiceProcess) -> int:
    """Count by the service's own metrics what schemathesis might have missed."""
    pattern = r'^http_server_request_duration_seconds_count\{.*status_code="5\d\d".*\} (\S+)$'
    counts = re.findall(pattern, service.get("/metrics").text, re.MULTILINE)
    return int(sum(map(float, counts)))


def print_result(text: str) -> None:
    """Print to standard error."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
