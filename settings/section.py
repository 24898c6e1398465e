"""The base class of all sections of the settings."""

import re
from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

_DIGITS = re.compile(r"[0-9]+")


class Section(BaseModel):
    """Settings that belong together: immutable, and never quoted in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each combination that is not allowed, which begins with a variable's name."""
        yield from ()

    @field_validator("*", mode="before")
    @classmethod
    def _reject_other_spellings(cls, raw: object, info: ValidationInfo) -> object:
        """Return text that stands for a number only if it is digits: pydantic takes `8_0` and `80.0` too."""
        is_number = cls.model_fields[info.field_name or ""].annotation in (int, int | None)
        if is_number and isinstance(raw, str) and not _DIGITS.fullmatch(raw):
            raise ValueError
        return raw

    @model_validator(mode="after")
    def _reject_conflicts(self) -> Self:
        if conflicts := list(self.conflicts()):
            raise ValueError("\n".join(conflicts))
        return self
