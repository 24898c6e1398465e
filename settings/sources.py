"""Read variables from the environment, `.env` and the secrets directory; the first that has one is used.

An empty value counts as unset, so that `VARIABLE=${VARIABLE:-}` in a compose file changes nothing. For each
secret, a variable of its name and `_FILE` may name a file that holds the value.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from settings.errors import SettingsError
from settings.variables import PREFIX, SECRETS_DIR, Setting

DOTENV = Path(".env")
DEFAULT_SECRETS_DIR = Path("/run/secrets")
FILE_SUFFIX = "_FILE"

_ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""

# Kubernetes sets such variables in every container of a namespace with a service of this name.
_KUBERNETES = re.compile(
    rf"{PREFIX}(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|"
    r"PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)"
)
_KUBERNETES_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")


def read_variables(settings: Mapping[str, Setting]) -> tuple[dict[str, str], list[str]]:
    """Return every variable of the service that is set, by its upper-case name, and what is wrong with files.

    Unknown names are included, even if empty, so that misspelt ones can be reported. A secret is left out if
    it is given twice, or its file cannot be read.
    Raises: SettingsError if `.env` or the secrets directory exists and cannot be read.
    """
    secrets = [variable for variable, setting in settings.items() if setting.is_secret]
    known = frozenset(settings) | {variable + FILE_SUFFIX for variable in secrets}
    environment = {name: text for name, text in os.environ.items() if not _is_from_kubernetes(name, text)}
    overriding = _known_only(_read_dotenv(), known) | _known_only(environment, known)
    overriding, problems = _with_files_read(overriding, secrets)
    directory = overriding.get(SECRETS_DIR)
    in_directory = _read_secrets(Path(directory) if directory else None, known)
    return _known_only(in_directory, known) | overriding, problems


def _with_files_read(
    variables: Mapping[str, str], secrets: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Replace each variable that names a file with the variable whose value the file holds."""
    read, problems = dict(variables), list[str]()
    for variable in secrets:
        name = read.pop(variable + FILE_SUFFIX, None)
        if name is not None:
            try:
                read[variable] = _value_of_file(variable, name, read.pop(variable, None))
            except SettingsError as error:
                problems += error.problems
    return read, problems


def _value_of_file(variable: str, file: str, other: str | None) -> str:
    if other is not None:
        raise SettingsError([f"{variable}: must not be set together with {variable}{FILE_SUFFIX}"])
    text = _read_secret(Path(file), f"{variable}{FILE_SUFFIX}: its file").strip()
    if not text:
        raise SettingsError([f"{variable}{FILE_SUFFIX}: its file must not be empty"])
    return text


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
        with DOTENV.open(encoding=_ENCODING) as stream:
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
    return {file.name: _read_secret(file, f"{file.name.upper()}: its secrets file") for file in ours}


def _read_secret(file: Path, subject: str) -> str:
    try:
        return file.read_text(encoding=_ENCODING)
    except (OSError, UnicodeDecodeError):
        raise SettingsError([f"{subject} cannot be read as UTF-8 text"]) from None
