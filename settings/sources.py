"""Read variables from the environment, `.env` and the secrets directory; the first that has one is used.

An empty value counts as unset, so that `VARIABLE=${VARIABLE:-}` in a compose file changes nothing.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from settings.errors import SettingsError
from settings.variables import PREFIX, SECRETS_DIR

DOTENV = Path(".env")
DEFAULT_SECRETS_DIR = Path("/run/secrets")

# Kubernetes sets such variables in every container of a namespace with a service of this name.
_KUBERNETES = re.compile(
    rf"{PREFIX}(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|"
    r"PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)"
)
_KUBERNETES_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")


def read_variables(known: frozenset[str]) -> dict[str, str]:
    """Return every variable of the service that is set, by its upper-case name.

    Unknown names are included, even if empty, so that misspelt ones can be reported.
    Raises: SettingsError if a file exists and cannot be read.
    """
    environment = {name: text for name, text in os.environ.items() if not _is_from_kubernetes(name, text)}
    overriding = _known_only(_read_dotenv(), known) | _known_only(environment, known)
    directory = overriding.get(SECRETS_DIR)
    return _known_only(_read_secrets(Path(directory) if directory else None, known), known) | overriding


def _known_only(variables: Mapping[str, str], known: frozenset[str]) -> dict[str, str]:
    ours = {}
    for name in sorted(variables, reverse=True):  # capitals sort first: here they come last and override
        variable = name.upper()
        value = variables[name].strip()
        is_setting = variable in known or variable == SECRETS_DIR
        if (is_setting and value) or (variable.startswith(PREFIX) and not is_setting):
            ours[variable] = value
    return ours


def _is_from_kubernetes(name: str, text: str) -> bool:
    if "__" not in name and name.endswith("_PORT") and _KUBERNETES_PORT.fullmatch(text):
        return True
    return _KUBERNETES.fullmatch(name) is not None


def _read_dotenv() -> dict[str, str]:
    try:
        with DOTENV.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise SettingsError([f"{DOTENV}: cannot be read as UTF-8 text"]) from None
    if wrong := [binding.original.line for binding in bindings if binding.error]:
        raise SettingsError([f"{DOTENV}: line {line} is not of the form NAME=value" for line in wrong])
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def _read_secrets(directory: Path | None, known: frozenset[str]) -> dict[str, str]:
    if directory is None and not DEFAULT_SECRETS_DIR.is_dir():
        return {}
    try:
        files = sorted((directory or DEFAULT_SECRETS_DIR).iterdir())
    except OSError:
        raise SettingsError([f"{SECRETS_DIR}: must be a directory that can be read"]) from None
    ours = [file for file in files if file.name.upper() in known or file.name.upper().startswith(PREFIX)]
    return {file.name: _read_secret(file) for file in ours}


def _read_secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError([f"{file.name.upper()}: its secrets file cannot be read as UTF-8 text"]) from None
