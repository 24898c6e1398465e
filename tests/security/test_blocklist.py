from pathlib import Path

import pytest

from service.security import blocklist
from tools.make_blocklist import TARGET, common_passwords


def test_bundled_list_is_current() -> None:
    assert Path(TARGET).read_text(encoding="ascii").splitlines() == common_passwords()


def test_bundled_list_has_3000_passwords_of_the_default_minimum_length() -> None:
    assert sum(len(entry) >= 15 for entry in common_passwords()) >= 3000


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "PasswordPassword",
        "P@ssw0rdP@ssw0rd",
        "123456789012345",
        "qwertyuiopasdfgh",
        "iloveyouforever",
        "administrator123",
        "this is my password",
        "password1",
    ],
)
def test_is_common_ignores_case(password: str) -> None:
    assert blocklist.is_common(password)


@pytest.mark.parametrize(
    "password",
    ["", "passwordpasswore", " passwordpassword", "a passwordpassword in a longer phrase", "😀" * 15],
)
def test_is_common_compares_the_whole_password(password: str) -> None:
    assert not blocklist.is_common(password)
