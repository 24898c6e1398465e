"""The check of CBOR before it is decoded."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollcall_testkit.cbor import encode

from service.security.plain_cbor import MAX_DEPTH, require_plain_cbor

LEAVES = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text() | st.binary()
LEVEL = st.lists(LEAVES, max_size=3) | st.dictionaries(st.integers(-9, 9) | st.text(), LEAVES, max_size=3)
PLAIN = LEAVES | LEVEL | st.lists(LEVEL, max_size=3)


def references(levels: int) -> bytes:
    """Arrays of two, each of the one before: short, and twice as large with every level once decoded."""
    shared, reference = b"\xd8\x1c\x82", b"\xd8\x1d"
    pairs = [shared + 2 * (reference + encode(level)) for level in range(levels - 1)]
    return b"\x98" + bytes([levels]) + shared + b"\x00\x00" + b"".join(pairs)


def nested(depth: int) -> bytes:
    return b"\x81" * depth + b"\x00"


def test_references_that_grow_exponentially_are_rejected() -> None:
    assert len(references(30)) < 300
    assert len(cbor2.dumps(cbor2.loads(references(12)))) > 2**13  # what decoder and encoder would do
    with pytest.raises(ValueError, match="tags"):
        require_plain_cbor(references(30))


@given(st.integers(0, 2**64 - 1), PLAIN)
def test_any_tag_is_rejected(tag: int, value: object) -> None:
    head = cbor2.dumps(tag)
    tagged = bytes([head[0] | 0xC0]) + head[1:] + cbor2.dumps(value)
    with pytest.raises(ValueError, match="tags"):
        require_plain_cbor(tagged)


@pytest.mark.parametrize("text", [b"\x9f\xff", b"\xbf\xff", b"\x5f\x41\x00\xff", b"\x1c", b"\xff", b"\xfc"])
def test_indefinite_lengths_and_reserved_heads_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="definite"):
        require_plain_cbor(text)


def test_four_levels_pass_and_five_are_rejected() -> None:
    require_plain_cbor(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 50_000):
        with pytest.raises(ValueError, match="deeply"):
            require_plain_cbor(nested(depth))


@pytest.mark.parametrize(
    "text",
    [
        b"\x18",
        b"\x19\x00",
        b"\x42\x00",
        b"\x82\x00",
        b"\xa1\x00",
        b"\x5b" + b"\xff" * 8,
        b"\x9b" + b"\xff" * 8,
    ],
)
def test_data_that_ends_too_early_is_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="early"):
        require_plain_cbor(text)


@given(st.lists(PLAIN, max_size=3))
def test_plain_items_one_after_the_other_pass(values: list[object]) -> None:
    require_plain_cbor(b"".join(map(cbor2.dumps, values)))
