"""Details of an account that products need: e-mail, language, their own id and data."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from service.domain.emails import EMAIL_RULE, canonical_email
from service.domain.errors import FieldError

EXTERNAL_ID_MAX: Final = 255
METADATA_MAX_BYTES: Final = 8 * 1024
NO_METADATA: Final[Mapping[str, Any]] = {}
LOCALE_MAX: Final = 35
_LOCALE: Final = re.compile(
    r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?((?:-(?:[0-9a-z]{5,8}|[0-9][0-9a-z]{3}))*)",
    re.IGNORECASE | re.ASCII,
)
_EXTERNAL_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")
_EXPONENT_FROM: Final = 1e16
"""The float from which JSON is written with an exponent, while PostgreSQL keeps every digit."""


class DetailsPatch(NamedTuple):
    """What a change of details names: a field that is in `named` gets the value here, None clears it."""

    named: frozenset[str] = frozenset()
    email: str | None = None
    email_verified: bool = False
    locale: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    """A merge patch."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "DetailsPatch":
        """Return the patch that names the given fields."""
        return cls(frozenset(given), **given)

    @property
    def privileged(self) -> frozenset[str]:
        """The fields that only administrators and API keys may set."""
        return self.named & {"email_verified", "external_id", "metadata"}


NO_DETAILS: Final = DetailsPatch()


def checked(patch: DetailsPatch) -> DetailsPatch | list[FieldError]:
    """Return a patch with its values in canonical form, or every error."""
    canonical = {
        "email": (canonical_email, EMAIL_RULE),
        "locale": (canonical_locale, "A BCP 47 language tag such as de or pt-BR."),
        "external_id": (canonical_external_id, f"1 to {EXTERNAL_ID_MAX} characters, none of them control."),
    }
    values: dict[str, Any] = {}
    errors = []
    for name, (function, rule) in canonical.items():
        raw: str | None = getattr(patch, name)
        values[name] = function(raw) if raw is not None else None
        if raw is not None and values[name] is None:
            errors.append(FieldError(f"/{name}", "invalid_value", rule))
    if "email_verified" in patch.named and patch.email is None:
        detail = "Send the address that is verified, too."
        errors.append(FieldError("/email_verified", "conflicting_fields", detail))
    if _has_nul(patch.metadata):
        errors.append(FieldError("/metadata", "invalid_value", "Texts and names without U+0000."))
    if errors:
        return errors
    return patch._replace(**values)


def canonical_locale(raw: str) -> str | None:
    """Return a language tag in its usual spelling, or None if it is none. Source: RFC 5646 2.1, 2.1.1."""
    match = _LOCALE.fullmatch(raw) if len(raw) <= LOCALE_MAX else None
    if match is None:
        return None
    language, script, region, variants = match.groups()
    parts = [language.lower(), (script or "").title(), (region or "").upper(), variants[1:].lower()]
    return "-".join(part for part in parts if part)


def canonical_external_id(raw: str) -> str | None:
    """Return an external id as it is, or None if it has another form."""
    return raw if _EXTERNAL_ID.fullmatch(raw) else None


def merge_metadata(metadata: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a merge patch: null removes, objects are merged, anything else replaces. Source: RFC 7396 2."""
    merged = dict(metadata)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            inner = merged.get(name)
            merged[name] = merge_metadata(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def is_too_large(metadata: Mapping[str, Any]) -> bool:
    """Return whether metadata exceed their size as the JSON that is kept of them."""
    kept = json.dumps(_as_kept(metadata), ensure_ascii=False, separators=(",", ":"))
    return len(kept.encode()) > METADATA_MAX_BYTES


def _as_kept(value: Any) -> Any:
    """Return a value as the database gives it back: a large float with all its digits."""
    if isinstance(value, Mapping):
        return {name: _as_kept(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_kept(each) for each in value]
    is_long = isinstance(value, float) and abs(value) >= _EXPONENT_FROM
    return int(Decimal(repr(value))) if is_long else value


def _has_nul(value: Any) -> bool:
    """Return whether a text in a JSON value has U+0000, which PostgreSQL does not store."""
    if isinstance(value, Mapping):
        return any(_has_nul(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value
