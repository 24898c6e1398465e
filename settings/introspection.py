"""Settings of introspection."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.values import Constraint, Duration


class IntrospectionSettings(Section):
    """How long other services may keep a response. Source: RFC 7662 4."""

    max_age: Annotated[Duration, Constraint("a time from 1s to 30d")] | None = Field(
        default=None,
        ge=timedelta(seconds=1),
        le=timedelta(days=30),
        description="Latest `exp` of a response, from now: clients that keep one until `exp` see a logout "
        "after this time. Unset: the end of the session or key.",
    )
