"""The URL of Rollcall, and the API key of this application."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What differs between production and a test."""

    rollcall_url: str
    rollcall_key: str
