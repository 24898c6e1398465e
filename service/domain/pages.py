"""Keyset pagination: stable under inserts and deletes, with the same cost for every page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from service.domain.users import UserRole, UserState

ItemT = TypeVar("ItemT")

PAGE_MAX = 100
PAGE_DEFAULT = 50


@dataclass(frozen=True, slots=True)
class Keyset:
    """The sort key of a row: the next page starts after it."""

    id: UUID
    at: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """A page of a listing; `next` is None on the last one."""

    items: Sequence[ItemT]
    next: Keyset | None


class UserSort(StrEnum):
    """The sort orders of users, each with an index."""

    CREATED = "created_at"
    CREATED_DESCENDING = "-created_at"
    LOGIN_ID = "login_id"


@dataclass(frozen=True, slots=True)
class UserFilter:
    """A filter of users; None matches any. `prefix` is one of the login id or the name, in any case."""

    prefix: str | None = None
    login_id: str | None = None
    email: str | None = None
    external_id: str | None = None
    state: UserState | None = None
    role: UserRole | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
