"""The canonical form of identifiers."""

from uuid import UUID

_CANONICAL_LENGTH = 36
_CANONICAL_CHARACTERS = frozenset("0123456789abcdef-")


def parse_id(text: str) -> UUID | None:
    """Return the id for its canonical form, lower-case with hyphens; None for any other spelling."""
    if len(text) != _CANONICAL_LENGTH or not _CANONICAL_CHARACTERS.issuperset(text):
        return None
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None
