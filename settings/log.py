"""What the service writes about itself."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from settings.section import Section


def _lower(raw: object) -> object:
    return raw.strip().lower() if isinstance(raw, str) else raw


class LogSettings(Section):
    """The service's own log."""

    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = Field(
        default="auto", description="auto: console on a terminal, json elsewhere."
    )
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = (
        Field(default="info", description="The least important level that is written.")
    )
