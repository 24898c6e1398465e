"""Settings read once, with every mistake told at once and in words."""

import re
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings.errors import SettingsError
from settings.root import Settings
from settings.sources import read_variables
from settings.values import show
from settings.variables import SECRETS_DIR, Setting, put, setting_variables

_VARIABLE = re.compile(r"\b(?:ROLLCALL_[A-Z_]+|DATABASE_URL)\b")


@cache
def get_settings() -> Settings:
    """Give the settings of this process, read and checked the first time.

    Raises: SettingsError that lists every wrong and every misspelt variable.
    """
    settings, wrong = _read()
    if problems := _misspelt() + wrong:
        raise SettingsError(problems)
    return settings


def masked(settings: Settings) -> dict[str, str]:
    """Give what each variable is, as it may be printed: passwords are `***`."""
    return {
        variable: show(setting.of(settings)) or setting.unset
        for variable, setting in setting_variables(Settings).items()
    }


def _read() -> tuple[Settings, list[str]]:
    # A wrong value hides the checks that build on it: those of its section, then those across sections.
    # So it gives way to its default, and the checks are made again.
    settled: dict[str, Any] = {}
    problems: list[str] = []
    for _ in range(3):
        try:
            return Settings(**settled), problems
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            problems += _fresh(problems, [sentence for detail in details for sentence in _sentences(detail)])
            for detail in details:
                _settle(settled, detail)
    raise SettingsError(_misspelt() + problems)


def _fresh(told: list[str], sentences: list[str]) -> list[str]:
    wrong = {variable for sentence in told for variable in _VARIABLE.findall(sentence)}
    return [
        sentence for sentence in dict.fromkeys(sentences) if wrong.isdisjoint(_VARIABLE.findall(sentence))
    ]


def _sentences(detail: ErrorDetails) -> list[str]:
    if detail["type"] == "default_factory_not_called":
        return []
    reason = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""
    setting = _setting_at(detail)
    if setting is None:
        return reason.splitlines() or [f"{_place(detail)}: {detail['msg']}"]
    return [f"{setting.variable}: {reason or 'must be ' + setting.expected}"]


def _settle(settled: dict[str, Any], detail: ErrorDetails) -> None:
    defaults = Settings.model_construct()
    setting = _setting_at(detail)
    if setting is not None:
        put(settled, setting.path, setting.of(defaults))
    elif detail["loc"]:
        settled[_place(detail)] = getattr(defaults, _place(detail)).model_dump()


def _place(detail: ErrorDetails) -> str:
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
    strange = [name for name in read_variables(frozenset(settings)) if name not in {*settings, SECRETS_DIR}]
    return [_no_such_setting(name, known) for name in sorted(strange)]


def _no_such_setting(name: str, known: dict[str, str]) -> str:
    near = get_close_matches(_plain(name), known, n=1, cutoff=0.7)
    return f"{name}: no such setting" + (f"; did you mean {known[near[0]]}?" if near else "")


def _plain(variable: str) -> str:
    return re.sub("_+", "_", variable)
