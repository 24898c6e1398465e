from hashlib import sha256

import pytest

from service.security import tokens

PREFIXES = [tokens.SESSION_PREFIX, tokens.API_KEY_PREFIX, tokens.RESET_PREFIX, tokens.DEVICE_PREFIX]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_new_token_has_its_prefix_and_256_bits(prefix: str) -> None:
    token = tokens.new_token(prefix)
    assert token.value.startswith(prefix)
    assert len(token.value) == len(prefix) + 43


def test_new_token_has_the_digest_of_its_value() -> None:
    token = tokens.new_token(tokens.SESSION_PREFIX)
    assert token.digest == sha256(token.value.encode()).digest()
    assert tokens.digest_of(token.value, tokens.SESSION_PREFIX) == token.digest


def test_new_token_never_repeats() -> None:
    assert len({tokens.new_token(tokens.SESSION_PREFIX).value for _ in range(1000)}) == 1000


def test_repr_of_token_hides_value_and_digest() -> None:
    token = tokens.new_token(tokens.SESSION_PREFIX)
    assert token.value not in repr(token)
    assert repr(token.digest) not in repr(token)


GOOD = "rcs_" + "Az09_-" * 7 + "A"


def test_digest_of_well_formed_token_is_returned() -> None:
    assert tokens.digest_of(GOOD, tokens.SESSION_PREFIX) is not None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "rcs_",
        GOOD[:-1],
        GOOD + "A",
        GOOD + "\n",
        GOOD[:-1] + "=",
        GOOD[:-1] + "é",
        GOOD[:-1] + "\x00",
        GOOD[:-1] + " ",
        "RCS_" + GOOD[4:],
        "rck_" + GOOD[4:],
        " " + GOOD,
        "x" * 100_000,
    ],
)
def test_digest_of_malformed_token_is_none(value: str) -> None:
    assert tokens.digest_of(value, tokens.SESSION_PREFIX) is None
