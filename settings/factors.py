"""Settings of second factors and passkeys."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from settings.section import Section
from settings.values import Constraint, LowerCase, Origins

RpId = Annotated[
    str,
    Field(pattern=r"^(localhost|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?)$"),
    LowerCase,
    Constraint("a domain such as example.org, without scheme and port; localhost to try it"),
]

Issuer = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[^:<>\x00-\x1f\x7f]+$"),
    Constraint("1 to 64 characters without : < >"),
]


class FactorSettings(Section):
    """Second factors: authenticator apps need `ROLLCALL_SECRETS__KEY`, passkeys a domain and origins.

    Source: OWASP ASVS 5.0 6.3.3.
    """

    required: Annotated[Literal["nobody", "admins", "everybody"], LowerCase] = Field(
        default="nobody",
        description="Who needs a second factor. Without one, a session may only enrol one, change its "
        "password or log out.",
    )
    issuer: Issuer | None = Field(
        default=None,
        description="What authenticator apps and passkey dialogs call the service. Unset: "
        "`ROLLCALL_SERVICE_NAME`.",
    )
    rp_id: RpId | None = Field(
        default=None,
        description="The domain that passkeys belong to. Changing it makes every passkey useless. Unset: "
        "passkeys are off.",
    )
    origins: Origins = Field(
        default=(),
        description="Origins whose pages may use passkeys, within the domain of `ROLLCALL_FACTORS__RP_ID`.",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each conflict within the section."""
        if (self.rp_id is None) == bool(self.origins):
            yield "ROLLCALL_FACTORS__RP_ID: passkeys need it together with ROLLCALL_FACTORS__ORIGINS"
        elif any(not self._is_within(origin) for origin in self.origins):
            yield (
                "ROLLCALL_FACTORS__ORIGINS: must be https, of the domain of ROLLCALL_FACTORS__RP_ID or below "
                "it (http on localhost only)"
            )

    def _is_within(self, origin: str) -> bool:
        """Return whether a browser lets pages of an origin use the domain. Source: WebAuthn 5.1.3."""
        parts = urlsplit(origin)
        host = parts.hostname or ""
        is_secure = parts.scheme == "https" or host == "localhost"
        return is_secure and (host == self.rp_id or host.endswith(f".{self.rp_id}"))
