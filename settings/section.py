"""What all sections of the settings have in common."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Settings that belong together; never changed once read, and never quoted in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def conflicts(self) -> Iterator[str]:
        """Tell, one sentence each and led by a variable's name, which settings do not go together."""
        yield from ()

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        if conflicts := list(self.conflicts()):
            raise ValueError("\n".join(conflicts))
        return self
