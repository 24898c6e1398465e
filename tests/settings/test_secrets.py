"""The keys of encryption at rest."""

from base64 import b64encode
from pathlib import Path

import pytest

from settings import get_settings, masked
from tests.settings.conftest import Variables

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
KEY = "ROLLCALL_SECRETS__KEY"
BOTH = f"{b64encode(NEW).decode()},{b64encode(OLD).decode()}"


def test_secrets_key_with_several_keys_keeps_their_order(variables: Variables) -> None:
    assert get_settings().secrets.keys == ()
    get_settings.cache_clear()
    variables.set(**{KEY: BOTH})
    assert get_settings().secrets.keys == (NEW, OLD)


def test_secrets_key_in_a_file_is_read(variables: Variables) -> None:
    Path("key").write_text(f"{b64encode(OLD).decode()}\n")
    variables.set(**{f"{KEY}_FILE": "key"})
    assert get_settings().secrets.keys == (OLD,)


def test_secrets_key_is_never_shown(variables: Variables) -> None:
    variables.set(**{KEY: BOTH})
    settings = get_settings()
    printed = f"{settings} {settings!r} {settings.model_dump_json()} {masked(settings)}"
    assert masked(settings)[KEY] == "***"
    assert not any(key in printed for key in BOTH.split(","))


@pytest.mark.parametrize(
    "wrong",
    [
        b64encode(bytes(16)).decode(),
        b64encode(bytes(31)).decode(),
        f"{BOTH},{BOTH}",
        "hunter22",
        "%" * 44,
    ],
)
def test_secrets_key_that_is_none_is_reported_and_not_quoted(wrong: str, variables: Variables) -> None:
    (problem,) = variables.problems(**{KEY: wrong})
    assert problem.startswith(f"{KEY}: must be 32 random bytes in base64")
    assert wrong not in problem
