"""Settings of the log."""

from typing import Annotated, Literal

from pydantic import Field

from settings.section import Section
from settings.values import LowerCase


class LogSettings(Section):
    """The log on standard error."""

    format: Annotated[Literal["auto", "console", "json"], LowerCase] = Field(
        default="auto", description="auto: console on a terminal, json elsewhere."
    )
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], LowerCase] = Field(
        default="info", description="The lowest level that is logged."
    )
