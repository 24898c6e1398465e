"""Keyset pages: stable under inserts and deletes, at the same cost on every page."""

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
    """The place of one row in a sorted listing: what comes after it is the next page."""

    id: UUID
    at: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """Some items of a listing, and where the next page starts, or None at the end."""

    items: Sequence[ItemT]
    next: Keyset | None


class UserSort(StrEnum):
    """The orders in which accounts can be listed, each along an index."""

    CREATED = "created_at"
    CREATED_DESCENDING = "-created_at"
    LOGIN_ID = "login_id"


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which accounts to list; None asks for any. `prefix` is of the login id or the name, in any case."""

    prefix: str | None = None
    login_id: str | None = None
    state: UserState | None = None
    role: UserRole | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
