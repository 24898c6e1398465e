from pathlib import Path

import pytest

from service.security import blocklist
from tools.make_blocklist import TARGET, common_passwords


def test_make_blocklist_again_gives_the_bundled_file() -> None:
    assert Path(TARGET).read_text(encoding="ascii").splitlines() == common_passwords()


def test_bundled_list_holds_3000_passwords_of_the_usual_minimum_length() -> None:
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
def test_look_up_common_password_finds_it_in_any_case(password: str) -> None:
    assert blocklist.is_common(password)


@pytest.mark.parametrize(
    "password",
    ["", "passwordpasswore", " passwordpassword", "a passwordpassword in a longer phrase", "😀" * 15],
)
def test_look_up_other_password_compares_the_whole(password: str) -> None:
    assert not blocklist.is_common(password)
