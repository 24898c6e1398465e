"""The pinned Unicode tables behind login ids: no interpreter decides, and the libraries agree."""

import sys
import unicodedata

import idna
import pytest
import unicodedata2
from hypothesis import example, given
from hypothesis import strategies as st
from precis_i18n import get_profile

from service.domain.internationalized import enforce_username, map_case, to_a_labels

ASSIGNED = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata2.category(character) not in {"Cn", "Co", "Cs"}
]
KNOWN = st.characters(exclude_categories=["Cn", "Cs"], exclude_characters="Σ")  # to this interpreter
# whose direction has changed since Python 3.11
CHANGED = "\u1b3a\u1b3c\u1b42\U0001171e"
LETTERS = st.characters(categories=["Ll", "Lo", "Mn", "Nd"], exclude_characters=CHANGED)
LABELS = st.text(LETTERS | st.sampled_from("-·\u200c\u200d"), min_size=1)


def enforced(text: str) -> str | None:
    try:
        return enforce_username(map_case(text))
    except ValueError:
        return None


def encoded(text: str) -> str | None:
    try:
        return to_a_labels(text)
    except ValueError:
        return None


def test_map_case_of_every_capital_is_that_of_unicode_18() -> None:
    # compared with the mapping for domains, which has tables of its own and folds Cherokee to capitals
    capitals = {
        character
        for character in ASSIGNED
        if unicodedata2.category(character) == "Lu"
        and unicodedata2.normalize("NFKC", character) == character
        and not "\u13a0" <= character <= "\u13f5"
    }

    assert {"Ж", "\u1c89", "\ua7dc", "\U00010d50", "\U00016ea0", "\U0001df7e"} <= capitals
    assert map_case("\u13a0\u13f0") == "\uab70\u13f8"
    for character in capitals - {"ẞ"}:
        assert map_case(character) == idna.uts46_remap(character) != character


def test_map_case_of_every_character_is_stable() -> None:
    for character in ASSIGNED:
        mapped = map_case(character)
        assert map_case(mapped) == mapped, hex(ord(character))


@given(st.text(KNOWN, min_size=1, max_size=20))
@example("Fußball")
@example("שלום1")
@example("क्\u200dष")
def test_enforce_username_agrees_with_the_profile_of_the_library(text: str) -> None:
    try:
        expected = get_profile("UsernameCaseMapped", unicodedata=unicodedata2).enforce(text)
    except ValueError:
        expected = None
    if expected is not None and unicodedata2.category(expected[0])[0] not in "LN" and expected[0] > "\x7f":
        expected = None

    assert enforced(text) == expected


@given(LABELS)
@example("例え")
@example("-例え")
@example("ab--é")
@example("אa")
def test_to_a_labels_agrees_with_the_library(label: str) -> None:
    try:
        expected = idna.encode(label, strict=True).decode()
    except idna.IDNAError:
        expected = None

    assert encoded(label) == expected


@pytest.mark.parametrize(
    ("label", "a_label"), [("\U0001e4d0\U0001e4d1", "xn--oh5hc"), ("\U00010d70\U00010d71", "xn--dh0dc")]
)
def test_to_a_labels_of_letters_newer_than_python_311_takes_them(label: str, a_label: str) -> None:
    assert to_a_labels(label) == a_label
    assert to_a_labels(a_label) == a_label


def test_to_a_labels_leaves_the_library_alone() -> None:
    assert vars(idna.core)["unicodedata"] is unicodedata
