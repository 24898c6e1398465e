"""Check CBOR of authenticators before it is decoded: decoded, a few bytes can become gigabytes."""

from typing import Final

MAX_DEPTH: Final = 4

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_IMMEDIATE: Final = 24
_RESERVED: Final = 28


def require_plain_cbor(data: bytes) -> None:
    """Check that data is a sequence of CBOR items as authenticators write them.

    They have no tags, definite lengths, and at most four levels of maps and arrays. Tags are the danger:
    with references to shared values, 30 levels in 240 bytes decode to a structure that encodes to 2^30.

    Raises:
        ValueError: the data is anything else.

    Source: CTAP 2.1 8 (message encoding); RFC 8949 3, 10.
    """
    position = 0
    while position < len(data):
        position = _end_of_item(data, position, MAX_DEPTH)


def _end_of_item(data: bytes, position: int, depth: int) -> int:
    major, argument, position = _head_at(data, position)
    if major == _TAG:
        raise ValueError("tags are not allowed")
    if major in (_BYTES, _TEXT):
        return _within(data, position + argument)
    if major in (_ARRAY, _MAP):
        if depth == 0:
            raise ValueError("nested too deeply")
        for _ in range(2 * argument if major == _MAP else argument):
            position = _end_of_item(data, position, depth - 1)
    return position


def _head_at(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the major type and the argument of an item, and where its head ends."""
    start = _within(data, position + 1)
    major, information = divmod(data[position], 32)
    if information < _IMMEDIATE:
        return major, information, start
    if information >= _RESERVED:
        raise ValueError("lengths must be definite")
    end = _within(data, start + (1 << information - _IMMEDIATE))
    return major, int.from_bytes(data[start:end], "big"), end


def _within(data: bytes, position: int) -> int:
    if position > len(data):
        raise ValueError("the data ends too early")
    return position
