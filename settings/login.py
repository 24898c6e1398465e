"""Settings of ways to log in."""

from pydantic import Field

from settings.section import Section


class LoginSettings(Section):
    """Ways to log in besides the password."""

    by_code: bool = Field(
        default=False, description="Log in with a code that is mailed to the verified address of the user."
    )
