"""Schemas of password reset tokens."""

from typing import Annotated

from msgspec import Meta

from service.api.schemas.common import Input, Output, Timestamp
from service.api.schemas.users import NewPassword

ResetToken = Annotated[str, Meta(examples=["rcr_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ"])]


class ResetTokenView(Output, frozen=True):
    """A reset token, shown once, for the caller to deliver."""

    token: ResetToken
    expires_at: Timestamp


class RedeemBody(Input, frozen=True):
    """A reset token and the password to set."""

    token: ResetToken
    new_password: NewPassword
