"""Schemas of authenticator apps."""

from typing import Annotated, Self

from service.api.schemas.common import Input, Output, about
from service.usecases.totp import NewTotp

TotpCode = Annotated[str, about("Six digits; spaces are ignored.", "287082", max_length=32)]


class ConfirmTotpBody(Input, frozen=True):
    """The first code of an authenticator app."""

    code: TotpCode


class NewTotpView(Output, frozen=True):
    """A new secret, shown once. Source: RFC 6238."""

    secret: Annotated[str, about("In base32, to be typed into the app.", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    uri: Annotated[
        str,
        about(
            "For a QR code, which the app scans.",
            "otpauth://totp/rollcall:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=rollcall",
        ),
    ]

    @classmethod
    def of(cls, new: NewTotp) -> Self:
        """Return the view of a new secret."""
        return cls(new.secret, new.uri)
