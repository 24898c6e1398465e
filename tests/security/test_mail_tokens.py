"""One-time tokens in mails are derived, not stored."""

import re
from dataclasses import replace

import pytest

from service.domain.mail import MailKind
from service.security.mail_tokens import MailTokens
from service.security.tokens import RESET_PREFIX, digest_of

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_restore_from_the_seed_gives_the_token(keys: tuple[bytes, ...]) -> None:
    tokens = MailTokens(keys)
    made = tokens.new(MailKind.RECOVERY)
    assert tokens.restore(MailKind.RECOVERY, made.seed) == made.value
    assert digest_of(made.value, RESET_PREFIX) is not None


def test_restore_after_a_rotation_finds_the_older_key() -> None:
    made = MailTokens([KEY]).new(MailKind.VERIFY_EMAIL)
    assert MailTokens([OTHER_KEY, KEY]).restore(MailKind.VERIFY_EMAIL, made.seed) == made.value


def test_restore_without_the_key_gives_nothing() -> None:
    made = MailTokens([KEY]).new(MailKind.RECOVERY)
    assert MailTokens().restore(MailKind.RECOVERY, made.seed) is None
    assert MailTokens([OTHER_KEY]).restore(MailKind.RECOVERY, made.seed) is None
    assert MailTokens([KEY]).restore(MailKind.RECOVERY, replace(made.seed, digest=b"x")) is None


def test_new_login_code_has_eight_digits() -> None:
    codes = {MailTokens().new(MailKind.LOGIN_CODE).value for _ in range(50)}
    assert len(codes) == 50
    assert all(re.fullmatch("[0-9]{8}", code) for code in codes)


def test_show_a_token_reveals_nothing() -> None:
    made = MailTokens().new(MailKind.RECOVERY)
    assert made.value not in repr(made)
