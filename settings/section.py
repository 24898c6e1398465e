"""The base class of all sections of the settings."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Settings that belong together: immutable, and never quoted in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each combination that is not allowed, which begins with a variable's name."""
        yield from ()

    @model_validator(mode="after")
    def _reject_conflicts(self) -> Self:
        if conflicts := list(self.conflicts()):
            raise ValueError("\n".join(conflicts))
        return self
