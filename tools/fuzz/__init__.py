"""Schemathesis against a running service, in three roles; `python -m tools.fuzz` is `make fuzz`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Left out where a request would end all tokens of its own role at once; other roles make them.
ROLES: Mapping[str, Sequence[str]] = {
    "admin": ("log_out", "end_sessions"),
    "user": ("end_sessions", "delete_user"),
    "key": (),
}


def command(url: str, role: str, *options: str) -> list[str]:
    """Give the command that sends requests made from the service's own document, with every check on."""
    excluded = [part for id_ in ROLES[role] for part in ("--exclude-operation-id", id_)]
    return [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{url}/openapi.json", "--checks", "all", "--warnings", "off", "--no-color"),
        *(*excluded, *options),
    ]


def environment(tokens: Sequence[str]) -> dict[str, str]:
    """Give the environment in which the command finds its tokens."""
    return {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tools.fuzz.hooks",
        "PYTHONPATH": str(HERE.parents[1]),
        "ROLLCALL_FUZZ_TOKENS": json.dumps(list(tokens)),
    }
