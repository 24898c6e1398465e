"""Start a service of its own on an embedded PostgreSQL, and send it whatever the document allows and forbids.

Exit status 0: no answer was a 5xx, and every answer was a documented one.
"""

import argparse
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tools.fuzz import ROLES, command, environment

PASSWORD = "mauve otter sings at dawn"
SESSIONS = 40
SHORTEST_ROUND_SECONDS = 20
CHEAP = {
    "ROLLCALL_PROFILE": "test",
    "ROLLCALL_PASSWORDS__MEMORY_KIB": "8",
    "ROLLCALL_PASSWORDS__ITERATIONS": "1",
    "ROLLCALL_THROTTLE__NETWORK_PER_MINUTE": "10000",
    "ROLLCALL_THROTTLE__NETWORK_PER_HOUR": "100000",
}


def main() -> int:
    """Fuzz for as long as asked, role after role."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz")
    parser.add_argument("--minutes", type=float, default=5)
    ends_at = time.monotonic() + parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory(prefix="rollcall-fuzz-") as directory, serving(Path(directory)) as url:
        failures, number = 0, 0
        while number < len(ROLES) or ends_at - time.monotonic() > SHORTEST_ROUND_SECONDS:
            role = list(ROLES)[number % len(ROLES)]
            left = max(ends_at - time.monotonic(), SHORTEST_ROUND_SECONDS)
            turns_left = max(len(ROLES) - number, 1)
            failures += run(url, role, number, left / turns_left)
            number += 1
        outages = answers_of_5xx(url)
    print_result(f"{number} rounds, {failures} with failures, {outages} answers of 5xx.")
    return 1 if failures or outages else 0


def run(url: str, role: str, number: int, seconds: float) -> int:
    """Fuzz in one role; give 1 when a check failed."""
    tokens = tokens_for(url, role, number)
    examples = 20 * (1 + number // len(ROLES))
    options = ["--max-examples", str(examples), "--max-time", str(int(seconds))]
    options += ["--continue-on-failure", "--generation-database", "none"]
    done = subprocess.run(  # noqa: S603 - the command is ours
        command(url, role, *options), env=environment(tokens), capture_output=True, text=True, check=False
    )
    found = re.search(r"^.*generated.*$", done.stdout, re.MULTILINE)
    print_result(f"{role}: {found[0].strip() if found else 'no result'}")
    if done.returncode:
        print_result(done.stdout[-20_000:] + done.stderr[-5_000:])
    return int(bool(done.returncode))


def tokens_for(url: str, role: str, number: int) -> list[str]:
    """Make a fresh account or key for a round, with tokens enough to lose some."""
    root = f"root{number}"
    make_admin(root)
    admin = {"Authorization": f"Bearer {log_in(url, root)}"}
    if role == "key":
        body = {"name": "fuzz", "scopes": ["users:read", "users:write", "sessions:introspect"]}
        return [httpx.post(f"{url}/v1/keys", json=body, headers=admin).json()["key"]]
    login_id = root
    if role == "user":
        login_id = f"user{number}"
        body = {"login_id": login_id, "name": "Somebody", "password": PASSWORD}
        httpx.post(f"{url}/v1/users", json=body, headers=admin).raise_for_status()
    return [log_in(url, login_id) for _ in range(SESSIONS)]


def log_in(url: str, login_id: str) -> str:
    """Open a session."""
    answer = httpx.post(f"{url}/v1/sessions", json={"login_id": login_id, "password": PASSWORD})
    token: str = answer.raise_for_status().json()["token"]
    return token


def make_admin(login_id: str) -> None:
    """Make an administrator at the command line."""
    subprocess.run(  # noqa: S603 - the command is ours
        [sys.executable, "-m", "service", "users", "admin", login_id],
        input=f"{PASSWORD}\n",
        text=True,
        capture_output=True,
        check=True,
    )


def answers_of_5xx(url: str) -> int:
    """Count by the service's own metrics what schemathesis might have missed."""
    pattern = r'^http_server_request_duration_seconds_count\{.*status_code="5\d\d".*\} (\S+)$'
    metrics = httpx.get(f"{url}/metrics").text
    return int(sum(float(count) for count in re.findall(pattern, metrics, re.MULTILINE)))


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Run a service in this directory, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in [name for name in os.environ if name.startswith("ROLLCALL_") or name == "DATABASE_URL"]:
        del os.environ[name]
    os.environ |= {
        **CHEAP,
        "ROLLCALL_DATABASE__EMBEDDED_DIR": str(directory / secrets.token_hex(4)),
        "ROLLCALL_HTTP__PORT": str(port),
    }
    with (directory / "service.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "service", "serve"], stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the service is ready."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("The service ended before it was ready.")
        try:
            if httpx.get(f"{url}/health/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("The service did not become ready.")


def print_result(text: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
