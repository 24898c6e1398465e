"""Verifiers of access tokens: programs that keep the published keys through a rotation."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import jwt

from tools.generated_clients.workspace import StepFailed, Workspace
from tools.prove_clients.builds import (
    Build,
    go_program,
    java_program,
    node_program,
    python_program,
    rust_program,
)
from tools.prove_clients.clients import Client, Start
from tools.prove_clients.signing_keys import SigningKeys
from tools.prove_clients.target import AUDIENCE, OTHER_AUDIENCE, REFUSED, Accounts, Running, Target, verdict

VERIFIER_STEPS: Final = (
    "a token",
    "another audience",
    "a forged token",
    "the old key, later",
    "the new key, at once",
)
_ADDRESS: Final = "the address of the keys"
_PYJWT: Final = ("PyJWT==2.15.1", "cryptography==50.0.2")
_GO_OIDC: Final = "github.com/coreos/go-oidc/v3@v3.21.0"


def verify(running: Running, accounts: Accounts, keys: SigningKeys) -> Iterator[str]:
    """Yield `ok` for each step, or what the verifier said. It runs, and keeps the keys, throughout."""
    session = accounts.log_in()
    token = accounts.issue(session, AUDIENCE)
    yield verdict(running.ask(token), accounts.subject)
    yield verdict(running.ask(accounts.issue(session, OTHER_AUDIENCE)), REFUSED)
    yield verdict(running.ask(forged(token)), REFUSED)
    keys.rotate()
    newer = accounts.issue(session, AUDIENCE)
    yield verdict(running.ask(token), accounts.subject)
    yield verdict(running.ask(newer), accounts.subject) if _key_id(newer) != _key_id(token) else "no new key"


def forged(token: str) -> str:
    """Return a token with another signature."""
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{'B' if signature.startswith('A') else 'A'}{signature[1:]}"


def _key_id(token: str) -> str:
    found: str = jwt.get_unverified_header(token)["kid"]
    return found


def _verifier(build: Build) -> Start:
    """Return how to run a program that prints the subject of each token of its input, or `refused`."""

    @contextmanager
    def start(workspace: Workspace, target: Target) -> Iterator[Running]:
        command, log = [str(part) for part in build(workspace)], workspace.directory / "verifier.log"
        environment = {**os.environ, "ROLLCALL_URL": target.url, "AUDIENCE": AUDIENCE}
        with (
            log.open("wb") as errors,
            subprocess.Popen(  # noqa: S603 - commands of this package
                command,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as process,
        ):
            yield Running(lambda token: _ask(process, token, log), None)

    return start


def _ask(process: subprocess.Popen[str], token: str, log: Path) -> str:
    """Return what the program says to a token.

    Raises: StepFailed with the end of its log if it has ended.
    """
    told = ""
    if process.stdin is not None and process.stdout is not None and process.poll() is None:
        process.stdin.write(f"{token}\n")
        process.stdin.flush()
        told = process.stdout.readline().strip()
    if not told:
        raise StepFailed(log.read_text(encoding="utf-8", errors="replace")[-500:] or "it has ended")
    return told


VERIFIERS: Final = (
    Client("Python, PyJWT", _ADDRESS, _verifier(python_program("verifiers/verify.py", *_PYJWT))),
    Client("Go, go-oidc", "discovery", _verifier(go_program("verifiers/main.go", _GO_OIDC))),
    Client("Node, jose", _ADDRESS, _verifier(node_program("verifiers/verify.mjs", "jose@6.2.18"))),
    Client("Java, Spring Security", _ADDRESS, _verifier(java_program("verifiers"))),
    Client("Rust, jsonwebtoken", _ADDRESS, _verifier(rust_program("verifiers"))),
)
