import unicodedata

import pytest

from service.domain import passwords
from service.domain.passwords import PasswordPolicy, normalize_for_login, normalize_password

CONTEXT = ("anna.schmidt@example.org", "Anna Schmidt", "Rollcall")
GOOD = "green ladders sing at noon"


def codes(password: str, policy: PasswordPolicy | None = None, common: str = "") -> list[str]:
    faults = (policy or PasswordPolicy()).faults(
        password, pointer="/password", context=CONTEXT, is_common=lambda given: given == common
    )
    assert all(fault.pointer == "/password" and fault.detail for fault in faults)
    return [fault.code for fault in faults]


def test_normalize_decomposed_password_composes_it() -> None:
    assert normalize_password("e\u0301tude") == "\u00e9tude"


def test_normalize_compatibility_characters_keeps_them() -> None:
    assert normalize_password("\ufb01ne \u2460 \uff21") == "\ufb01ne \u2460 \uff21"


@pytest.mark.parametrize(
    "space", [chr(point) for point in range(0x80, 0x10000) if unicodedata.category(chr(point)) == "Zs"]
)
def test_normalize_unicode_space_makes_it_a_plain_one(space: str) -> None:
    assert normalize_password(f"a{space}b") == "a b"


@pytest.mark.parametrize(
    "password", ["  spaces around  ", "UPPER lower", "\"quotes' and \\", "\u200dzwj\U0001f600", "\ufeffbom"]
)
def test_normalize_any_other_text_changes_nothing(password: str) -> None:
    assert normalize_password(password) == password


CONTROLS = [chr(point) for point in (*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDFFF)]


@pytest.mark.parametrize("character", CONTROLS)
def test_normalize_control_or_surrogate_refuses_it(character: str) -> None:
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password(GOOD + character)
    assert normalize_for_login(GOOD + character) is None
    assert codes(GOOD + character) == ["password_invalid_characters"]


def test_normalize_1024_characters_accepts_them_and_one_more_refuses() -> None:
    assert len(normalize_password("ab" * 512)) == 1024
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password("ab" * 512 + "a")


def test_normalize_4096_bytes_accepts_them_and_one_more_refuses() -> None:
    assert normalize_password("\U0001f600" * 1024)
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password("\U0001f600" * 1024 + "a")


def test_normalize_text_that_grows_over_the_limit_refuses_it() -> None:
    growing = "\u0958"
    assert len(unicodedata.normalize("NFC", growing)) == 2
    with pytest.raises(ValueError, match="cannot be a password"):
        normalize_password(growing * 600)
    assert codes(growing * 600) == ["password_too_long"]


def test_normalize_long_text_checks_its_length_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(raw: str) -> str:
        raise AssertionError("normalised before its length was checked")

    monkeypatch.setattr(passwords, "_normal", refuse)
    assert normalize_for_login("a\u0301" * 100_000) is None
    assert codes("a\u0301" * 100_000) == ["password_too_long"]


def test_normalize_for_login_with_a_short_password_lets_it_pass() -> None:
    assert normalize_for_login("short") == "short"


def test_normalize_for_login_with_nothing_is_no_password() -> None:
    assert normalize_for_login("") is None


def test_check_good_password_finds_no_fault() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize("unit", ["\U0001f600", "\u00e9", "e\u0301"])
def test_check_length_counts_code_points_after_composing(unit: str) -> None:
    assert codes(unit * 14) == ["password_too_short"]
    assert codes(unit * 15) == []


def test_check_length_follows_the_policy() -> None:
    policy = PasswordPolicy(min_length=8, max_length=20, max_bytes=30)
    assert codes("gr33nlad", policy) == []
    assert codes("gr33nla", policy) == ["password_too_short"]
    assert codes("gr33nladgr33nladxzyvwu", policy) == ["password_too_long"]
    assert codes("\u00e9\u00e8\u00ea\u00eb" * 4, policy) == ["password_too_long"]


def test_check_password_with_several_faults_names_them_all() -> None:
    assert codes("\x00anna") == ["password_invalid_characters", "password_too_short", "password_blocked"]


def test_check_common_password_blocks_it_as_a_whole() -> None:
    assert codes(GOOD, common=GOOD) == ["password_blocked"]
    assert codes(GOOD + "!", common=GOOD) == []


def test_check_common_password_asks_with_the_normal_form() -> None:
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
def test_check_password_made_of_login_name_or_service_blocks_it(password: str) -> None:
    assert codes(password) == ["password_blocked"]


@pytest.mark.parametrize(
    "password", ["anna keeps seven green ladders", "rollcall is not my password", "schmidtlandia annexed"]
)
def test_check_passphrase_that_merely_mentions_the_context_accepts_it(password: str) -> None:
    assert codes(password) == []


def test_check_password_made_of_digits_of_the_login_id_blocks_it() -> None:
    faults = PasswordPolicy().faults(
        "49-1517-0092-8831", pointer="/p", context=["49151700928831"], is_common=lambda _: False
    )
    assert [fault.code for fault in faults] == ["password_blocked"]


def test_check_password_with_an_empty_or_tiny_context_accepts_it() -> None:
    for context in ((), ("", " "), ("x", "Y Z"), ("!!!",)):
        faults = PasswordPolicy().faults(
            "94#x!8301-77+x(52)", pointer="/p", context=context, is_common=lambda _: False
        )
        assert faults == []


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
def test_check_trivial_pattern_blocks_it(password: str) -> None:
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
def test_check_password_with_only_a_part_in_pattern_accepts_it(password: str) -> None:
    assert codes(password) == []


def test_check_repetition_of_a_unit_that_is_long_enough_accepts_it() -> None:
    unit = "green-ladders-x"
    assert codes(unit * 2) == []
    assert codes(unit[:14] * 2) == ["password_blocked"]


def test_faults_never_repeat_the_password() -> None:
    for password in ("schmidtschmidtschmidt", "zyx", "aaaaaaaaaaaaaaa"):
        faults = PasswordPolicy().faults(password, pointer="/p", context=CONTEXT, is_common=lambda _: False)
        assert faults
        assert all(password not in fault.detail for fault in faults)
