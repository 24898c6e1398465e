"""What the lints of the house find, and what they leave alone."""

import pytest

from tools.lints.markdown_width import long_lines
from tools.lints.private_names import private_uses

LONG = "word " * 21


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("hasher._limiter._free", ["_free", "_limiter"]),
        ("from service.app import _wire, create_app", ["_wire"]),
        ("monkeypatch.setattr(module, '_tune_gc', None)", ["_tune_gc"]),
        ("monkeypatch.setattr('service.app._wire', None)", ["_wire"]),
        ("self._own; cls._own; error.__cause__; _local; row.name", []),
    ],
)
def test_find_private_names_reports_those_of_others(source: str, names: list[str]) -> None:
    assert sorted(private_uses(source)) == names


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"short\n{LONG}\n", [2]),
        (f"- {LONG}\n", [1]),
        (f"| {LONG} |\n# {LONG}\n", []),
        (f"```sh\n{LONG}\n```\n{LONG}", [4]),
        (f"- [text](https://example.org/{'a' * 100})\n", []),
    ],
)
def test_find_long_lines_reports_those_that_can_be_broken(text: str, lines: list[int]) -> None:
    assert list(long_lines(text)) == lines
