"""Settings of introspection."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.values import Constraint, Duration


class IntrospectionSettings(Section):
    """What other services may keep of an answer. Source: RFC 7662 4."""

    max_age: Annotated[Duration, Constraint("a time from 1s to 30d")] | None = Field(
        default=None,
        ge=timedelta(seconds=1),
        le=timedelta(days=30),
        description="Latest `exp` of an answer, from now: clients that keep answers until `exp` see a logout "
        "after this time. Unset: the end of the session or key.",
    )
