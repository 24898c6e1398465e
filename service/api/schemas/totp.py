"""Schemas of authenticator apps."""

from typing import Annotated, Self

from msgspec import Meta

from service.api.schemas.common import Input, Output
from service.usecases.totp import NewTotp

TotpCode = Annotated[
    str,
    Meta(max_length=32, description="Six digits; spaces are ignored.", examples=["287082"]),
]


class ConfirmTotpBody(Input, frozen=True):
    """The first code of an authenticator app."""

    code: TotpCode


class NewTotpView(Output, frozen=True):
    """A new secret, shown once. Source: RFC 6238."""

    secret: Annotated[
        str,
        Meta(
            description="In base32, to be typed into the app.", examples=["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]
        ),
    ]
    uri: Annotated[
        str,
        Meta(
            description="For a QR code, which the app scans.",
            examples=["otpauth://totp/rollcall:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=rollcall"],
        ),
    ]

    @classmethod
    def of(cls, new: NewTotp) -> Self:
        """Return the view of a new secret."""
        return cls(new.secret, new.uri)
