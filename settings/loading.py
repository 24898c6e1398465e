"""Read the settings once; report all mistakes together and in words."""

import re
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings.errors import SettingsError
from settings.root import Settings
from settings.sources import FILE_SUFFIX, read_variables
from settings.values import format_value
from settings.variables import SECRETS_DIR, Setting, set_path, setting_variables

_VARIABLE = re.compile(r"\b(?:ROLLCALL_[A-Z_]+|DATABASE_URL(?:_FILE)?)\b")


@cache
def get_settings() -> Settings:
    """Return the settings of this process, read and checked at the first call.

    Raises: SettingsError that lists every wrong and every misspelt variable.
    """
    settings, wrong = _read()
    if problems := _misspelt() + wrong:
        raise SettingsError(problems)
    return settings


def masked(settings: Settings) -> dict[str, str]:
    """Return the value of each variable as text, with passwords masked."""
    return {
        variable: format_value(setting.of(settings)) or setting.unset
        for variable, setting in setting_variables(Settings).items()
    }


def _read() -> tuple[Settings, list[str]]:
    # A wrong value hides later checks: those of its section, then those across sections.
    # So replace it with its default and check again.
    replaced: dict[str, Any] = {}
    _, problems = read_variables(setting_variables(Settings))
    for _ in range(3):
        try:
            return Settings(**replaced), problems
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            problems += _new_only(problems, [text for detail in details for text in _sentences(detail)])
            for detail in details:
                _replace_with_default(replaced, detail)
    raise SettingsError(_misspelt() + problems)


def _new_only(known: list[str], sentences: list[str]) -> list[str]:
    wrong = {name.removesuffix(FILE_SUFFIX) for sentence in known for name in _VARIABLE.findall(sentence)}
    return [
        sentence for sentence in dict.fromkeys(sentences) if wrong.isdisjoint(_VARIABLE.findall(sentence))
    ]


def _sentences(detail: ErrorDetails) -> list[str]:
    if detail["type"] == "default_factory_not_called":
        return []
    reason = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""
    setting = _setting_at(detail)
    if setting is None:
        return reason.splitlines() or [f"{_location(detail)}: {detail['msg']}"]
    return [f"{setting.variable}: {reason or 'must be ' + setting.constraint}"]


def _replace_with_default(replaced: dict[str, Any], detail: ErrorDetails) -> None:
    defaults = Settings.model_construct()
    setting = _setting_at(detail)
    if setting is not None:
        set_path(replaced, setting.path, setting.of(defaults))
    elif detail["loc"]:
        replaced[_location(detail)] = getattr(defaults, _location(detail)).model_dump()


def _location(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _setting_at(detail: ErrorDetails) -> Setting | None:
    return _by_path().get(detail["loc"][:2]) or _by_path().get(detail["loc"][:1])


@cache
def _by_path() -> dict[tuple[int | str, ...], Setting]:
    return {setting.path: setting for setting in setting_variables(Settings).values()}


def _misspelt() -> list[str]:
    settings = setting_variables(Settings)
    known = {_plain(setting.spelled_path): variable for variable, setting in settings.items()}
    known[_plain(SECRETS_DIR)] = SECRETS_DIR
    secrets = [setting for setting in settings.values() if setting.is_secret]
    known |= {_plain(each.spelled_path + FILE_SUFFIX): each.variable + FILE_SUFFIX for each in secrets}
    found, _ = read_variables(settings)
    unknown = [name for name in found if name not in {*settings, SECRETS_DIR}]
    return [_no_such_setting(name, known) for name in sorted(unknown)]


def _no_such_setting(name: str, known: dict[str, str]) -> str:
    plain = _plain(name)
    if plain not in known and plain.endswith(FILE_SUFFIX) and plain.removesuffix(FILE_SUFFIX) in known:
        return f"{name}: no such setting; only a secret can be read from a file"
    near = get_close_matches(plain, known, n=1, cutoff=0.7)
    return f"{name}: no such setting" + (f"; did you mean {known[near[0]]}?" if near else "")


def _plain(variable: str) -> str:
    return re.sub("_+", "_", variable)
