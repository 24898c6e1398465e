"""One-time passwords of authenticator apps."""

from base64 import b32decode
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.security.totp import base32_of, matching_step, new_totp_secret, otpauth_uri

SECRET = b"12345678901234567890"
"""Of RFC 4226 and RFC 6238."""
HOTP = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
STEP = 37_037_036
"""The time step of 1111111109, whose code is 07081804."""


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ],
)
def test_code_of_rfc_6238_matches_its_step(seconds: int, code: str) -> None:
    """Appendix B has eight digits; those of six are their end (RFC 4226 5.3)."""
    assert matching_step(SECRET, code[-6:], at(seconds), after_step=None) == seconds // 30


@pytest.mark.parametrize(("count", "code"), list(enumerate(HOTP)))
def test_code_of_rfc_4226_matches_its_count(count: int, code: str) -> None:
    """Appendix D."""
    assert matching_step(SECRET, code, at(30 * count + 30), after_step=None) == count


@pytest.mark.parametrize(("offset", "step"), [(-2, None), (-1, STEP), (0, STEP), (1, STEP), (2, None)])
def test_code_matches_one_step_early_or_late_and_no_more(offset: int, step: int | None) -> None:
    now = at(30 * (STEP + offset))
    assert matching_step(SECRET, "081804", now, after_step=None) == step


@pytest.mark.parametrize(
    ("after_step", "step"), [(None, STEP), (STEP - 1, STEP), (STEP, None), (STEP + 1, None)]
)
def test_code_matches_only_a_step_after_the_last_accepted_one(
    after_step: int | None, step: int | None
) -> None:
    assert matching_step(SECRET, "081804", at(30 * STEP), after_step=after_step) == step


def test_code_of_an_earlier_step_after_a_later_one_was_accepted_does_not_match() -> None:
    """Otherwise somebody who has seen two codes could use the older one."""
    assert matching_step(SECRET, "081804", at(30 * (STEP + 1)), after_step=STEP + 1) is None
    assert matching_step(SECRET, "081804", at(30 * (STEP + 1)), after_step=STEP - 1) == STEP


@pytest.mark.parametrize("code", ["081 804", " 081804 ", "0 8 1 8 0 4"])
def test_code_with_spaces_matches(code: str) -> None:
    assert matching_step(SECRET, code, at(30 * STEP), after_step=None) == STEP


@pytest.mark.parametrize(
    "code",
    [
        "",
        "08180",
        "0818044",
        "07081804",
        "081804\n",
        "081-804",
        "+81804",
        "081804\x00",
        "٠٨١٨٠٤",
        "０８１８０４",
        "081804" + " " * 100_000,
    ],
)
def test_text_that_is_no_code_does_not_match(code: str) -> None:
    assert matching_step(SECRET, code, at(30 * STEP), after_step=None) is None


@given(st.text())
def test_any_text_is_a_code_or_none(text: str) -> None:
    assert matching_step(SECRET, text, at(30 * STEP), after_step=None) in (None, STEP - 1, STEP, STEP + 1)


def test_code_of_another_secret_does_not_match() -> None:
    assert matching_step(b"09876543210987654321", "081804", at(30 * STEP), after_step=None) is None


def test_new_secret_has_160_bits_and_never_repeats() -> None:
    secrets = {new_totp_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert {len(secret) for secret in secrets} == {20}


def test_base32_of_a_secret_has_no_padding() -> None:
    assert base32_of(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def test_uri_names_issuer_user_and_parameters() -> None:
    uri = otpauth_uri(SECRET, issuer="Rollcall", account="ada@example.org")
    assert uri == (
        "otpauth://totp/Rollcall:ada%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        "&issuer=Rollcall&algorithm=SHA1&digits=6&period=30"
    )


@pytest.mark.parametrize(
    ("issuer", "account"),
    [("Bank & Söhne", "o'brien"), ("A/B?C=#1", "corp\\ada"), ("100 %", "+81 3"), ("a:b", "c:d&issuer=e")],
)
def test_uri_keeps_every_character_of_issuer_and_user(issuer: str, account: str) -> None:
    uri = urlsplit(otpauth_uri(SECRET, issuer=issuer, account=account))
    label = uri.path.removeprefix("/").split(":")
    assert [unquote(part) for part in label] == [issuer, account]
    parameters = parse_qs(uri.query, strict_parsing=True)
    assert parameters["issuer"] == [issuer]
    assert b32decode(parameters["secret"][0]) == SECRET
    assert "+" not in uri.query
