"""Samples of what browsers and passkeys exchange, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any, Final

SAMPLE_CHALLENGE: Final = "rcc_dY2wt3Mf6p1yA4Bc8eN0gT5hU7iW9jX1kL3mO4nP6qR"
SAMPLE_PUBLIC_KEY: Final[Mapping[str, Any]] = {
    "challenge": "WbG7Ru8qNTnDqKjsyx2wNqYuZzcVfv2nBxSWyzhRRMo",
    "rpId": "example.org",
    "timeout": 300000,
    "allowCredentials": [{"type": "public-key", "id": "9b7mP1qZ2r3sT4uV5wX6yA"}],
    "userVerification": "required",
}
"""Options of `navigator.credentials.get()`. Source: WebAuthn Level 3 5.5."""
SAMPLE_PASSKEY: Final[Mapping[str, Any]] = {
    "id": "9b7mP1qZ2r3sT4uV5wX6yA",
    "rawId": "9b7mP1qZ2r3sT4uV5wX6yA",
    "type": "public-key",
    "clientExtensionResults": {},
    "response": {
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0Iiwi…",
        "authenticatorData": "5Yaf4EYzO6ALp_K7s-p-BQLPSCYVYcKLZptoXwxq…",
        "signature": "MEUCIQDNrG…",
        "userHandle": "AZjFpH0efDufYCsfOlx9ng",
    },
}
"""The answer of a passkey. Source: WebAuthn Level 3 5.1.8."""
