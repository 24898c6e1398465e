"""The canonical forms of login ids and names."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.users import (
    LOGIN_ID_MAX,
    NAME_MAX,
    RESERVED_LOGIN_IDS,
    canonical_login_id,
    canonical_name,
)

ALLOWED = "abcdefghijklmnopqrstuvwxyz0123456789._@+-"
LOGIN_IDS = st.text(alphabet=ALLOWED + ALLOWED.upper(), min_size=1, max_size=LOGIN_ID_MAX + 5)


@given(st.text())
@example("\u212a")  # KELVIN SIGN, which lower-cases to k
@example("\u0130")  # I WITH DOT ABOVE, which lower-cases to two code points
@example("a\n")
def test_canonical_login_id_of_any_text_is_ascii_and_idempotent(text: str) -> None:
    canonical = canonical_login_id(text)

    if canonical is not None:
        assert canonical.isascii()
        assert canonical == text.lower()
        assert text.isascii()
        assert set(canonical) <= set(ALLOWED)
        assert canonical_login_id(canonical) == canonical


@given(LOGIN_IDS)
@example("me")
@example("Current")
@example("a" * LOGIN_ID_MAX)
@example("a" * (LOGIN_ID_MAX + 1))
def test_canonical_login_id_of_allowed_characters_is_lower_case_or_none(text: str) -> None:
    lowered = text.lower()
    follows = lowered[0].isalnum() and lowered[-1].isalnum() and len(text) <= LOGIN_ID_MAX

    expected = lowered if follows and lowered not in RESERVED_LOGIN_IDS else None

    assert canonical_login_id(text) == expected


@given(LOGIN_IDS, LOGIN_IDS)
def test_canonical_login_ids_are_equal_only_if_they_differ_in_case(one: str, other: str) -> None:
    if (canonical := canonical_login_id(one)) is not None and canonical == canonical_login_id(other):
        assert one.lower() == other.lower()


@given(st.text(max_size=NAME_MAX + 5))
def test_canonical_name_of_any_text_is_composed_without_control_characters(text: str) -> None:
    name = canonical_name(text)

    if name is not None:
        assert 1 <= len(name) <= NAME_MAX
        assert unicodedata.is_normalized("NFC", name)
        assert not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Cn"}
        assert canonical_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ada", "Ada"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        (" ", " "),
        ("e\u0301" * NAME_MAX, "\u00e9" * NAME_MAX),
        ("e\u0301" * (NAME_MAX + 1), None),
        ("", None),
        ("a\x00", None),
        ("a\x85", None),
        ("a\ud800", None),
        ("a\u202e", None),
        ("a\u2066", None),
        ("a\uffff", None),
        ("a\U000e0fff", None),
    ],
)
def test_canonical_name_of_an_example_is_as_documented(text: str, name: str | None) -> None:
    assert canonical_name(text) == name
