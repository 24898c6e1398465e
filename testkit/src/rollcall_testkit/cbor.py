"""The part of CBOR that an authenticator writes. Source: RFC 8949 3, 4.2.1; CTAP 2.1 8."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Value: TypeAlias = int | str | bytes | Mapping[Any, Any]


def encode(value: Value) -> bytes:
    """Return the encoding of integers, texts, byte strings, and maps in the order of their keys."""
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def _head(major: int, argument: int) -> bytes:
    """Return the type and its argument, in as few bytes as it fits."""
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(size for size in (0, 1, 2, 3) if argument < 1 << 8 * 2**size)
    return bytes([major << 5 | 24 + size]) + argument.to_bytes(2**size, "big")
