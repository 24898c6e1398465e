"""Schemas of API keys."""

from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import (
    Id,
    Input,
    InputTime,
    Output,
    PageView,
    Timestamp,
    about,
    extensible,
    timestamp,
    timestamp_or_none,
)
from service.domain.keys import KEY_NAME_MAX, ApiKey, Scope


class CreateKeyBody(Input, frozen=True):
    """A new API key."""

    name: Annotated[str, Meta(min_length=1, max_length=KEY_NAME_MAX, examples=["gateway"])]
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=len(Scope),
            extra_json_schema={"uniqueItems": True},
            examples=[["users:read"]],
        ),
    ]
    expires_at: Annotated[InputTime, about("Default, and at most: two years ahead.")] | UnsetType = UNSET


class ApiKeyView(Output, frozen=True):
    """An API key without the key itself."""

    id: Id
    name: str
    scopes: list[Annotated[str, extensible(Scope)]]
    created_at: Timestamp
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    prefix: Annotated[str, Meta(examples=["rck_AbC1"])]
    created_by: Annotated[Id, about("The administrator who created it; null for the command line.")] | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Return the view of an API key."""
        return cls(
            key.id,
            key.name,
            list(key.scopes),
            timestamp(key.created_at),
            timestamp_or_none(key.last_used_at),
            timestamp_or_none(key.expires_at),
            key.prefix,
            key.created_by,
        )


class CreatedKeyView(Output, frozen=True):
    """A new API key. `key` is shown once: it is null in the response to a repeated request."""

    key: str | None
    api_key: ApiKeyView


class ApiKeyPage(PageView[ApiKeyView], frozen=True):
    """A page of API keys."""
