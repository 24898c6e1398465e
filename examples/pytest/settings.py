"""Where this application finds Rollcall, and the API key it asks with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What differs between production and a test."""

    rollcall_url: str
    rollcall_key: str
