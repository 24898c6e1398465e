"""Login ids beyond ASCII: user names of PRECIS (RFC 8265) and domains as A-labels (IDNA 2008).

Both libraries read the pinned Unicode tables here, so the result does not depend on the interpreter.
"""

from importlib.util import find_spec, module_from_spec
from typing import Any, Final

import unicodedata2
from precis_i18n.bidi import bidi_rule, has_rtl
from precis_i18n.context import context_rule_error
from precis_i18n.derived import CONTEXTJ, CONTEXTO, PVALID, derived_property
from precis_i18n.unicode import UnicodeData

from service.domain.unicode import category, nfc

_UCD: Final = UnicodeData(unicodedata2)
_POSITIONAL: Final = frozenset("\u00b7\u0375\u05f3\u05f4\u200c\u200d")
"""Characters whose rule depends on the characters around them. Source: RFC 5892 appendix A.1 to A.6."""
_MAX_LABEL = 63


def _load_idna() -> Any:
    """Return a copy of `idna.core` of our own: the library has no parameter for the Unicode tables."""
    spec = find_spec("idna.core")
    if spec is None or spec.loader is None:
        raise ImportError("idna.core")
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.unicodedata = unicodedata2
    return module


_IDNA: Final = _load_idna()


def map_case(text: str) -> str:
    """Return a text in the width, case and normalization form of UsernameCaseMapped.

    Letters are mapped one by one, so a capital sigma becomes σ, never ς.
    Source: RFC 8265 3.3.2 and 3.5.
    """
    return nfc("".join(map(_lower_case, _UCD.width_map(text))))


def enforce_username(text: str) -> str:
    """Return a user name, already in the form of `map_case`, that begins with a letter, a digit or ASCII.

    Raises:
        ValueError: the IdentifierClass disallows a character, or the Bidi Rule is broken.
    Source: RFC 8265 3.3.3; RFC 5893 2.
    """
    if text[0] > "\x7f" and category(text[0])[0] not in "LN":
        raise ValueError("a user name begins with a letter or a digit")
    if has_rtl(text, _UCD) and not bidi_rule(text, _UCD):
        raise ValueError("the Bidi Rule is broken")
    # once per distinct character: the library's rules for digits and kana read the whole text each time
    offsets = {character: offset for offset, character in enumerate(text)}.values()
    positional = [offset for offset, character in enumerate(text) if character in _POSITIONAL]
    if not all(_is_allowed(text, offset) for offset in (*offsets, *positional)):
        raise ValueError("the IdentifierClass disallows a character")
    return text


def to_a_labels(domain: str) -> str:
    """Return a domain whose labels are ASCII or U-labels with all of them in ASCII.

    Nothing is mapped, so that no two domains become one.

    Raises:
        ValueError: a label is invalid.
    Source: RFC 5891 4 and 5.3.
    """
    if any(len(label) > _MAX_LABEL for label in domain.split(".")):
        raise ValueError("a label is too long")  # before work that grows with the square of the length
    encoded: bytes = _IDNA.encode(domain, strict=True)
    return encoded.decode("ascii")


def _is_allowed(text: str, offset: int) -> bool:
    found, _reason = derived_property(ord(text[offset]), _UCD)
    if found in {CONTEXTJ, CONTEXTO}:
        return not context_rule_error(text, offset, _UCD)
    return bool(found == PVALID)


def _lower_case(character: str) -> str:
    if category(character) not in {"Lu", "Lt"}:
        return character
    lower = character.lower()
    if lower == character == unicodedata2.normalize("NFKC", character):
        # a capital that is newer than the interpreter
        return str(_IDNA.uts46_remap(character))
    return lower
