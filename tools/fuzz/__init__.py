"""Schemathesis on a running service, in three roles; `python -m tools.fuzz` is `make fuzz`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Operations that a role does not call, because one request would end all of its tokens; other roles do.
ROLES: Mapping[str, Sequence[str]] = {
    "admin": ("log_out", "end_sessions"),
    "user": ("end_sessions", "delete_user"),
    "key": (),
}


def schemathesis_command(url: str, role: str, *options: str) -> list[str]:
    """Return the command that generates requests from the service's document, with all checks enabled."""
    excluded = [part for id_ in ROLES[role] for part in ("--exclude-operation-id", id_)]
    return [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{url}/openapi.json", "--checks", "all", "--warnings", "off", "--no-color"),
        *(*excluded, *options),
    ]


def schemathesis_environment(tokens: Sequence[str]) -> dict[str, str]:
    """Return the environment of the command, with the tokens."""
    return {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tools.fuzz.hooks",
        "PYTHONPATH": str(HERE.parents[1]),
        "ROLLCALL_FUZZ_TOKENS": json.dumps(list(tokens)),
    }
