from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import parse_id

ID = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


@given(st.uuids())
def test_parse_id_accepts_the_canonical_form_only(value: UUID) -> None:
    text = str(value)

    assert parse_id(text) == value
    for other in (text.replace("-", ""), f"{{{text}}}", f"urn:uuid:{text}", f" {text}", f"{text}\n"):
        assert parse_id(other) is None
    assert parse_id(text.upper()) == (value if text.upper() == text else None)


@pytest.mark.parametrize(
    "text", ["", "x", ID[:-1], ID + "0", ID.replace("-", "_"), ID.replace("0", "\u0660"), "-" * 36, "me"]
)
def test_parse_id_of_another_text_returns_none(text: str) -> None:
    assert parse_id(text) is None


@given(st.text())
def test_parse_id_of_any_text_returns_the_same_id_or_none(text: str) -> None:
    found = parse_id(text)

    assert found is None or str(found) == text
