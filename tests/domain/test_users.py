"""The canonical forms of login ids and names."""

import re

import pytest
import unicodedata2
from hypothesis import assume, example, given
from hypothesis import strategies as st

from service.domain.users import (
    LOGIN_ID_MAX,
    NAME_MAX,
    RESERVED_LOGIN_IDS,
    LoginIdCharset,
    canonical_login_id,
    canonical_name,
)

ASCII, UNICODE = LoginIdCharset
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
ALLOWED = PRINTABLE.translate(dict.fromkeys(map(ord, '",;<>')))
LOGIN_IDS = st.text(alphabet=ALLOWED, min_size=1, max_size=LOGIN_ID_MAX + 5)
WORDS = st.text(st.characters(categories=["L", "M", "Nd"]), min_size=1, max_size=8)
ADDRESSES = st.builds(lambda local, domain: f"{local}@{domain}.example", WORDS | LOGIN_IDS, WORDS)

EVERYBODY = {
    "O'Brien": "o'brien",
    "Ada@Example.ORG": "ada@example.org",
    "+819012345678": "+819012345678",
    "CORP\\Ada": "corp\\ada",
    "100%": "100%",
    "a&b/c=d?e#f": "a&b/c=d?e#f",
    "ada!": "ada!",
    "_ada_": "_ada_",
    "kim@work_laptop": "kim@work_laptop",
    "a@b@c": "a@b@c",
    "ada@例え.jp": "ada@xn--r8jz45g.jp",
    "ada@XN--R8JZ45G.jp": "ada@xn--r8jz45g.jp",
    "ada@straße.example": "ada@xn--strae-oqa.example",
    "xn--anything": "xn--anything",
}
NOBODY = [
    "",
    "-ada",
    ".ada",
    "'ada",
    "@ada",
    "a b",
    'a"b',
    "a,b",
    "a;b",
    "a<b",
    "a>b",
    "a\n",
    "a\x00",
    "a\x7f",
    "a\x85",
    "a\u200b",
    "a\ud800",
    "me",
    "Current",
    "NULL",
    "undefined",
    "ada@xn--zz",
    "ada@xn--",
    "ada@xn--r8jz45g-.jp",
    "ada@例え_.jp",
    "ada@-例え.jp",
    "ada@例え。jp",
    "ada@例え..jp",
    "ada@bu\u0308cher.example\u200d",
    "x" * (LOGIN_ID_MAX + 1),
    "ada@" + "例" * 60 + ".jp",
]
IN_UNICODE = {
    "müller@例え.jp": "müller@xn--r8jz45g.jp",
    "用户@例子.广告": "用户@xn--fsqu00a.xn--4rr70v",
    "Иван": "иван",
    "MU\u0308LLER": "müller",
    "STRAẞE": "straße",
    "straße": "straße",
    "ΣΊΣΥΦΟΣ": "σίσυφοσ",
    "İ": "i\u0307",
    "ｋelvin": "kelvin",
    "\u212aelvin": "kelvin",
    "ada＠BÜCHER．example": "ada@xn--bcher-kva.example",
    "שלום@דוגמה.com": "שלום@xn--6dbbec0c.com",
    "l·l": "l·l",
    "क्\u200dष": "क्\u200dष",
    "\U00010d50@\U0001e4d0.jp": "\U00010d70@xn--oh5h.jp",
}
NOT_IN_UNICODE = [
    "ｍｅ",
    "a，b",
    "a　b",
    "ada😀",
    "𝐀da",
    "ﬁ",
    "Ⅳ",
    "a·b",
    "a\u200db",
    "a\u0378",
    "\u0301a",
    "אa",
    "a\ue000",
    "ada@例え。jp",
]


@pytest.mark.parametrize("charset", LoginIdCharset)
@pytest.mark.parametrize(("raw", "login_id"), EVERYBODY.items())
def test_canonical_login_id_of_known_people_is_as_documented(
    raw: str, login_id: str, charset: LoginIdCharset
) -> None:
    assert canonical_login_id(raw, charset) == login_id
    assert canonical_login_id(login_id, charset) == login_id


@pytest.mark.parametrize("charset", LoginIdCharset)
@pytest.mark.parametrize("raw", NOBODY)
def test_canonical_login_id_that_breaks_the_rule_is_none(raw: str, charset: LoginIdCharset) -> None:
    assert canonical_login_id(raw, charset) is None


@pytest.mark.parametrize(("raw", "login_id"), IN_UNICODE.items())
def test_canonical_login_id_beyond_ascii_needs_unicode(raw: str, login_id: str) -> None:
    assert canonical_login_id(raw, UNICODE) == login_id
    assert canonical_login_id(login_id, UNICODE) == login_id
    assert canonical_login_id(raw, ASCII) is None


@pytest.mark.parametrize("raw", NOT_IN_UNICODE)
def test_canonical_login_id_that_precis_disallows_is_none(raw: str) -> None:
    assert canonical_login_id(raw, UNICODE) is None


@given(st.text() | ADDRESSES)
@example("\u212a")  # KELVIN SIGN, which lower-cases to k
@example("\u0130")  # I WITH DOT ABOVE, which lower-cases to two code points
@example("a\n")
def test_canonical_login_id_in_ascii_maps_nothing_but_case_and_domains(text: str) -> None:
    login_id = canonical_login_id(text, ASCII)

    if login_id is not None:
        assert set(login_id) <= set(ALLOWED)
        assert login_id == text.lower() or "@xn--" in login_id or ".xn--" in login_id
        assert canonical_login_id(login_id, ASCII) == login_id


@given(LOGIN_IDS)
@example("me")
@example("Current")
@example("a" * LOGIN_ID_MAX)
@example("a" * (LOGIN_ID_MAX + 1))
def test_canonical_login_id_of_allowed_characters_is_lower_case_or_none(text: str) -> None:
    lowered = text.lower()
    assume("xn--" not in lowered)
    follows = re.match("[a-z0-9_+]", lowered) and len(text) <= LOGIN_ID_MAX

    expected = lowered if follows and lowered not in RESERVED_LOGIN_IDS else None

    assert canonical_login_id(text, ASCII) == canonical_login_id(text, UNICODE) == expected


@given(LOGIN_IDS, LOGIN_IDS)
def test_canonical_login_ids_are_equal_only_in_another_case(one: str, other: str) -> None:
    if (login_id := canonical_login_id(one, ASCII)) is not None:
        assert (login_id == canonical_login_id(other, ASCII)) == (one.lower() == other.lower())


@given(st.text(min_size=1) | WORDS | ADDRESSES)
def test_canonical_login_id_in_unicode_stays_what_it_is(text: str) -> None:
    login_id = canonical_login_id(text, UNICODE)

    if login_id is not None:
        assert unicodedata2.normalize("NFC", login_id) == login_id
        assert canonical_login_id(login_id, UNICODE) == login_id
        assert login_id.rpartition("@")[2].isascii() or "@" not in login_id
        if login_id.isascii():
            assert canonical_login_id(login_id, ASCII) == login_id


@given(st.text(max_size=NAME_MAX + 5))
def test_canonical_name_of_any_text_is_composed_without_control_characters(text: str) -> None:
    name = canonical_name(text)

    if name is not None:
        assert 1 <= len(name) <= NAME_MAX
        assert unicodedata2.normalize("NFC", name) == name
        categories = {
            unicodedata2.category(character) for character in name if character not in "\u200c\u200d"
        }
        assert not categories & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
        assert {category[0] for category in categories} & set("LNPSC")
        assert len(name.splitlines()) == 1
        assert canonical_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ada", "Ada"),
        ("Zoe\u0308", "Zo\u00eb"),
        (" Ada  L. ", " Ada  L. "),
        ("O'Brien, 3rd", "O'Brien, 3rd"),
        ("e\u0301" * NAME_MAX, "\u00e9" * NAME_MAX),
        ("e\u0301" * (NAME_MAX + 1), None),
        ("", None),
    ],
)
def test_canonical_name_of_an_example_is_as_documented(text: str, name: str | None) -> None:
    assert canonical_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f469\u200d\U0001f4bb",  # woman technologist
        "\u2764\ufe0f\u200d\U0001f525",  # heart on fire
        "1\ufe0f\u20e3",  # keycap
        "\U0001f1e9\U0001f1ea",  # flag
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
        "\u09b0\u200d\u09cd\u09af\u09be\u09ac",  # Bengali, with a joiner before the virama
        "\u845b\U000e0100",  # a variant of an ideograph
        "Ada \U0001fa77",  # pink heart, Unicode 15
        "Ada \U0001faea",  # Unicode 17
        "\U0003fffd",  # unassigned
        "z" + "\u0317" * 4,
    ],
)
def test_canonical_name_of_emoji_joiners_and_new_characters_is_unchanged(text: str) -> None:
    assert canonical_name(text) == text


@pytest.mark.parametrize(
    "invisible",
    [
        " ",
        "\u00a0",
        "\u3000 ",
        "\u115f",
        "\u1160",
        "\u2800",
        "\u3164",
        "\uffa0",
        "\U0001d159",
        "\u0301",
        "\ufe0f",
    ],
)
def test_canonical_name_of_invisible_characters_is_none(invisible: str) -> None:
    assert canonical_name(invisible * 3) is None
    assert canonical_name(f"Ada{invisible}") is not None


@pytest.mark.parametrize(
    "text",
    [
        *("a\x00", "a\n", "a\x7f", "a\x85", "a\ud800"),
        *("a\u2028b", "a\u2029b", "a\u202eb", "a\u2066b", "a\u200eb", "a\u061cb", "a\u00adb"),
        *("a\u200bb", "a\u2060b", "a\ufeffb", "a\ufff9b", "a\U000e0041b", "a\U000e0001b", "a\U0001d173b"),
        *("a\ue000", "a\U000f0000", "a\U0010fffd"),
        *("a\ufdd0", "a\uffff", "a\U0001fffe", "a\u2065", "a\ufff0", "a\U000e0fff"),
        *("\u200da", "a\u200d", "a\u200d\u200da", "a \u200d b", "1\u200d2", "\u200d", "\u200c"),
        *("z" + "\u0317" * 5, "z\u0317\u0317\u0317\u200d\u0317\u0317", "a" + "\u0317" * 199),
    ],
)
def test_canonical_name_with_a_disallowed_character_is_none(text: str) -> None:
    assert canonical_name(text) is None


def test_canonical_name_composes_characters_newer_than_python_311() -> None:
    assert canonical_name("\U00016d67\U00016d67") == "\U00016d68"  # Kirat Rai, Unicode 16
