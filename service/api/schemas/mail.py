"""Schemas of verification, recovery and login codes by mail."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Input, Output, about, given
from service.domain.errors import FieldError, ValidationFailed

VerificationToken = Annotated[str, Meta(examples=["rcv_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ"])]
CodeToken = Annotated[
    str,
    about(
        "Send it back together with the code: the code is of no use without it.",
        "rcl_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ",
    ),
]
LoginCode = Annotated[str, about("The 8 digits from the mail.", "40716253")]


class VerifyEmailBody(Input, frozen=True):
    """The token from the mail."""

    token: VerificationToken


class LoginIdOrEmailBody(Input, frozen=True):
    """The login id of an account, or its verified address: one of the two."""

    login_id: Annotated[str, Meta(examples=["ada"])] | UnsetType = UNSET
    email: Annotated[str, Meta(examples=["ada@example.org"])] | UnsetType = UNSET

    @property
    def login_id_or_email(self) -> tuple[str | None, str | None]:
        """The one that was sent.

        Raises:
            ValidationFailed: both were, or neither.
        """
        if (self.login_id is UNSET) == (self.email is UNSET):
            code = "missing_field" if self.email is UNSET else "conflicting_fields"
            raise ValidationFailed(FieldError("/login_id", code, "Send either a login id or an address."))
        return given(self.login_id), given(self.email)


class CodeTokenView(Output, frozen=True):
    """The token that the code in the mail is bound to."""

    code_token: CodeToken
