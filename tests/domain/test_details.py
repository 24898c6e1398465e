"""Details of accounts: languages, external ids, metadata."""

from typing import Any

import pytest

from service.domain.details import (
    METADATA_MAX_BYTES,
    canonical_external_id,
    canonical_locale,
    is_too_large,
    merge_metadata,
)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("de", "de"),
        ("PT-br", "pt-BR"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-ROZAJ", "sl-rozaj"),
    ],
)
def test_canonical_locale_has_the_usual_spelling(raw: str, canonical: str) -> None:
    assert canonical_locale(raw) == canonical


@pytest.mark.parametrize(
    "raw", ["", "d", "german", "de_DE", "de-", "de-DE-", "../de", "de\n", "x" * 36, "ſl"]
)
def test_canonical_locale_of_anything_else_is_none(raw: str) -> None:
    assert canonical_locale(raw) is None


@pytest.mark.parametrize(
    ("raw", "is_valid"), [("crm-4711", True), ("Ä 1", True), ("", False), ("a\nb", False), ("x" * 256, False)]
)
def test_canonical_external_id_is_kept_as_it_is(raw: str, *, is_valid: bool) -> None:
    assert canonical_external_id(raw) == (raw if is_valid else None)


# The examples of RFC 7396 appendix A that are objects.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_metadata_follows_the_rfc(
    target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
) -> None:
    before = dict(target)
    assert merge_metadata(target, patch) == result
    assert target == before


def test_metadata_are_too_large_by_their_bytes() -> None:
    frame = len('{"a":""}')
    assert not is_too_large({"a": "x" * (METADATA_MAX_BYTES - frame)})
    assert is_too_large({"a": "x" * (METADATA_MAX_BYTES - frame + 1)})
    assert is_too_large({"a": "é" * (METADATA_MAX_BYTES // 2)})


def test_metadata_with_large_numbers_count_every_digit_that_is_kept() -> None:
    assert not is_too_large({"a": [1e308] * 26})
    assert is_too_large({"a": [1e308] * 27})
    assert is_too_large({"a": {"b": [-1e308] * 27}})
    assert not is_too_large({"a": [1e15, 1e-308] * 300})
