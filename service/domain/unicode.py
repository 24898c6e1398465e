"""Unicode properties from one pinned version of the tables, never from those of the interpreter.

`unicodedata` differs between Python versions; `unicodedata2` has the same interface and a version of its own.
"""

from collections.abc import Callable
from typing import Final

import unicodedata2

category: Final[Callable[[str], str]] = unicodedata2.category
"""Return the general category of a code point, `Cn` for an unassigned one."""


def nfc(text: str) -> str:
    """Return the composed form of a text; code points newer than the tables stay as they are.

    Source: UAX #15.
    """
    composed: str = unicodedata2.normalize("NFC", text)
    return composed


def nfkc(text: str) -> str:
    """Return the composed form of a text with compatibility characters replaced, as `\ufb01` by `fi`.

    Source: UAX #15.
    """
    composed: str = unicodedata2.normalize("NFKC", text)
    return composed
