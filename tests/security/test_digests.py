"""Digests of what is counted."""

import hmac

import pytest

from service.security.digests import CountDigests

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.mark.parametrize(("keys", "key"), [((), b""), ((KEY,), KEY), ((OTHER_KEY, KEY), OTHER_KEY)])
def test_digest_is_keyed_with_the_newest_key(keys: tuple[bytes, ...], key: bytes) -> None:
    expected = hmac.digest(key, b"rollcall count\0stranger\0ada", "sha256")
    assert CountDigests(keys).of("stranger", "ada") == expected


def test_digest_of_a_lone_surrogate_is_none_of_another_text() -> None:
    digests = CountDigests()
    assert len({digests.of("name", text) for text in ("\ud800", "\ud801", "?", "")}) == 4


def test_show_digests_reveals_no_key() -> None:
    assert "kkkk" not in repr(CountDigests([KEY]))
