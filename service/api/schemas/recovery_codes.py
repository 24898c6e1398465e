"""Schemas of recovery codes."""

from typing import Annotated

from service.api.schemas.common import Output, about


class RecoveryCodesView(Output, frozen=True):
    """New recovery codes, shown once."""

    codes: Annotated[
        list[str],
        about("Each works once, in any case, with or without hyphens.", ["4h7k2m-9qx3fz-c8w1vn-p6t5rd"]),
    ]
