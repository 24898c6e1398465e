"""Recovery codes: form, digest, and what people make of them when they type."""

import re
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.security.recovery_codes import digest_of_recovery_code, new_recovery_codes

ADA, EVE = UUID("01890a5d-ac96-774b-bcce-b302099a8057"), UUID("01890a5d-ac96-774b-bcce-b302099a8058")
CODE = "0123zz-01abcd-efghjk-mnpqrs"
DIGEST = sha256(b"rollcall recovery code\0" + ADA.bytes + b"0123zz01abcdefghjkmnpqrs").digest()


def test_new_codes_are_ten_in_groups_of_six() -> None:
    codes = [code.value for code in new_recovery_codes(ADA)]
    assert len(set(codes)) == 10
    for code in codes:
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{6}(-[0-9a-hjkmnp-tv-z]{6}){3}", code)


def test_new_codes_use_the_whole_alphabet_and_never_repeat() -> None:
    codes = [code.value for _ in range(100) for code in new_recovery_codes(ADA)]
    assert len(set(codes)) == 1000
    assert set("".join(codes)) == set("0123456789abcdefghjkmnpqrstvwxyz-")


def test_digest_of_a_new_code_is_the_one_it_came_with() -> None:
    for code in new_recovery_codes(ADA):
        assert digest_of_recovery_code(ADA, code.value) == code.digest


def test_repr_of_a_code_hides_it() -> None:
    code = new_recovery_codes(ADA)[0]
    assert code.value not in repr(code)


def test_digest_is_that_of_purpose_user_and_code() -> None:
    """The form that is in databases."""
    assert digest_of_recovery_code(ADA, CODE) == DIGEST


def test_digest_of_the_same_code_of_another_user_differs() -> None:
    digests = {digest_of_recovery_code(user_id, CODE) for user_id in (ADA, EVE)}
    assert None not in digests
    assert len(digests) == 2


@pytest.mark.parametrize(
    "text",
    [
        CODE.upper(),
        CODE.replace("-", ""),
        CODE.replace("-", " "),
        f"  {CODE} ",
        CODE.replace("0", "O").replace("1", "l"),
        CODE.replace("0", "o").replace("1", "I"),
        CODE.replace("1", "L"),
    ],
)
def test_digest_ignores_how_the_code_is_written(text: str) -> None:
    assert digest_of_recovery_code(ADA, text) == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        CODE[:-1],
        CODE + "0",
        CODE + "\n",
        CODE[:-1] + "u",
        CODE[:-1] + "\x00",
        CODE.replace("k", "\N{KELVIN SIGN}"),
        CODE.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
        CODE.replace("-", "_"),
        CODE + " " * 100_000,
    ],
)
def test_digest_of_what_cannot_be_a_code_is_none(text: str) -> None:
    assert digest_of_recovery_code(ADA, text) is None


@given(st.text())
def test_digest_of_any_text_is_32_bytes_or_none(text: str) -> None:
    digest = digest_of_recovery_code(ADA, text)
    assert digest is None or len(digest) == 32
