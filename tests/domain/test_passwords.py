import unicodedata

import pytest

from service.domain.passwords import PasswordPolicy, TypedPassword, normalize_for_login, normalize_password

CONTEXT = ("anna.schmidt@example.org", "Anna Schmidt", "Rollcall")
GOOD = "green ladders sing at noon"


def codes(password: str, policy: PasswordPolicy | None = None, common: str = "") -> list[str]:
    violations = (policy or PasswordPolicy()).violations(
        password, pointer="/password", context=CONTEXT, is_common=lambda password: password == common
    )
    assert all(violation.pointer == "/password" and violation.detail for violation in violations)
    return [violation.code for violation in violations]


def test_normalize_password_composes_characters() -> None:
    assert normalize_password("e\u0301tude") == "\u00e9tude"


def test_normalize_password_keeps_compatibility_characters() -> None:
    assert normalize_password("\ufb01ne \u2460 \uff21") == "\ufb01ne \u2460 \uff21"


@pytest.mark.parametrize(
    "space", [chr(point) for point in range(0x80, 0x10000) if unicodedata.category(chr(point)) == "Zs"]
)
def test_normalize_password_replaces_unicode_spaces(space: str) -> None:
    assert normalize_password(f"a{space}b") == "a b"


@pytest.mark.parametrize(
    "password", ["  spaces around  ", "UPPER lower", "\"quotes' and \\", "\u200dzwj\U0001f600", "\ufeffbom"]
)
def test_normalize_password_keeps_any_other_text(password: str) -> None:
    assert normalize_password(password) == password


CONTROLS = [chr(point) for point in (*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDFFF)]


@pytest.mark.parametrize("character", CONTROLS)
def test_normalize_password_with_control_or_surrogate_raises(character: str) -> None:
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password(GOOD + character)
    assert normalize_for_login(GOOD + character) is None
    assert codes(GOOD + character) == ["password_invalid_characters"]


def test_normalize_password_beyond_1024_characters_raises() -> None:
    assert len(normalize_password("ab" * 512)) == 1024
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password("ab" * 512 + "a")


def test_normalize_password_beyond_4096_bytes_raises() -> None:
    assert normalize_password("\U0001f600" * 1024)
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password("\U0001f600" * 1024 + "a")


def test_normalize_password_that_grows_beyond_the_limit_raises() -> None:
    growing = "\u0958"
    assert len(unicodedata.normalize("NFC", growing)) == 2
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password(growing * 600)
    assert codes(growing * 600) == ["password_too_long"]


def test_normalize_password_checks_the_length_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> str:
        raise AssertionError("normalised before the length was checked")

    with monkeypatch.context() as patched:
        patched.setattr(unicodedata, "normalize", fail)
        assert normalize_for_login("a\u0301" * 100_000) is None
        assert codes("a\u0301" * 100_000) == ["password_too_long"]


def test_normalize_for_login_accepts_a_short_password() -> None:
    assert normalize_for_login("short") == "short"


def test_normalize_for_login_of_empty_text_returns_none() -> None:
    assert normalize_for_login("") is None


@pytest.mark.parametrize(
    ("raw", "forms"),
    [
        ("plain text", ("plain text", None, None)),
        ("mot\u00a0de passe", ("mot de passe", "mot\u00a0de passe", None)),
        ("pa\u0308sswo\u0308rd", ("p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd", None)),
        ("\ufb01ne", ("\ufb01ne", None, "fine")),
        ("\ufb01\u3000ne", ("\ufb01 ne", "\ufb01\u3000ne", "fi ne")),
        ("tab\tinside", ("tab\tinside", None, None)),
        ("\ufdfa" * 1000, ("\ufdfa" * 1000, None, None)),
    ],
)
def test_typed_password_has_each_form_once(raw: str, forms: tuple[str | None, ...]) -> None:
    assert tuple(TypedPassword.of(raw)) == forms


@pytest.mark.parametrize("raw", ["", "nul\0inside", "lone \ud800", "x" * 1025, "\U0001f600" * 1025])
def test_typed_password_of_an_impossible_text_has_no_form(raw: str) -> None:
    assert tuple(TypedPassword.of(raw)) == (None, None, None)


def test_violations_of_good_password_are_none() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize("unit", ["\U0001f600", "\u00e9", "e\u0301"])
def test_violations_of_length_count_composed_code_points(unit: str) -> None:
    assert codes(unit * 14) == ["password_too_short"]
    assert codes(unit * 15) == []


def test_violations_of_length_follow_the_policy() -> None:
    policy = PasswordPolicy(min_length=8, max_length=20, max_bytes=30)
    assert codes("gr33nlad", policy) == []
    assert codes("gr33nla", policy) == ["password_too_short"]
    assert codes("gr33nladgr33nladxzyvwu", policy) == ["password_too_long"]
    assert codes("\u00e9\u00e8\u00ea\u00eb" * 4, policy) == ["password_too_long"]


def test_violations_of_several_rules_are_all_returned() -> None:
    assert codes("\x00anna") == ["password_invalid_characters", "password_too_short", "password_blocked"]


def test_violations_of_common_password_compare_the_whole_text() -> None:
    assert codes(GOOD, common=GOOD) == ["password_blocked"]
    assert codes(GOOD + "!", common=GOOD) == []


def test_violations_of_common_password_compare_the_normal_form() -> None:
    assert codes("green\u00a0ladders sing at noon", common=GOOD) == ["password_blocked"]


@pytest.mark.parametrize(
    "password",
    [
        "anna.schmidt@example.org",
        "ANNA.SCHMIDT@EXAMPLE.ORG",
        "anna.schmidt@example.organna.schmidt@example.org",
        "gro.elpmaxe@tdimhcs.anna",
        "annaschmidt-2026!",
        "2026 Anna Schmidt",
        "schmidtschmidtschmidt",
        "SchmidtRollcall1",
        "rollcallrollcall",
        "llacllor-12345678",
        "Rollcall!!!!!!!!!",
        "anna1schmidt2anna3",
    ],
)
def test_violations_of_password_made_of_context_blocks_it(password: str) -> None:
    assert codes(password) == ["password_blocked"]


@pytest.mark.parametrize(
    "password", ["anna keeps seven green ladders", "rollcall is not my password", "schmidtlandia annexed"]
)
def test_violations_of_passphrase_that_mentions_the_context_are_none(password: str) -> None:
    assert codes(password) == []


def test_violations_of_password_made_of_login_id_digits_blocks_it() -> None:
    violations = PasswordPolicy().violations(
        "49-1517-0092-8831", pointer="/p", context=["49151700928831"], is_common=lambda _: False
    )
    assert [violation.code for violation in violations] == ["password_blocked"]


def test_violations_with_empty_or_tiny_context_are_none() -> None:
    for context in ((), ("", " "), ("x", "Y Z"), ("!!!",)):
        violations = PasswordPolicy().violations(
            "94#x!8301-77+x(52)", pointer="/p", context=context, is_common=lambda _: False
        )
        assert violations == []


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaa",
        "AaAaAaAaAaAaAaAa",
        "abxabxabxabxabx",
        "Kx9#vQ2mKx9#vQ2m",
        "123456789012345",
        "987654321098765",
        "abcdefghijklmnop",
        "zyxwvutsrqponmlk",
        "qwertyuiopasdfgh",
        "POIUYTREWQLKJHGF",
        "1qaz2wsx3edc4rfv",
        "qazwsxedcrfvtgb",
        "1q2w3e4r5t6y7u8i",
        "qwerty-123456-asdf",
        "!@#$%^&*()!@#$%",
        "aaabbbcccdddeeefff",
    ],
)
def test_violations_of_sequence_or_repetition_blocks_it(password: str) -> None:
    assert codes(password) == ["password_blocked"]


@pytest.mark.parametrize(
    "password",
    [
        "Kx9#vQ2mKx9#vQ2",
        "k7Qw!zR4pLm2Xv9c",
        "qwerty is a poor start",
        "abcdefgh plus one word",
        "abcdefghabcdefgh ladders",
    ],
)
def test_violations_of_partial_pattern_are_none(password: str) -> None:
    assert codes(password) == []


def test_violations_of_repetition_require_a_unit_of_min_length() -> None:
    unit = "green-ladders-x"
    assert codes(unit * 2) == []
    assert codes(unit[:14] * 2) == ["password_blocked"]


def test_violations_never_repeat_the_password() -> None:
    for password in ("schmidtschmidtschmidt", "zyx", "aaaaaaaaaaaaaaa"):
        violations = PasswordPolicy().violations(
            password, pointer="/p", context=CONTEXT, is_common=lambda _: False
        )
        assert violations
        assert all(password not in violation.detail for violation in violations)
