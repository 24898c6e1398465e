"""Sign JSON Web Tokens. Source: RFC 7515, RFC 7517, RFC 7518 3.4, RFC 8037."""

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

from service.domain.signing import SignatureAlgorithm

ACCESS_TOKEN_TYPE: Final = "at+jwt"
"""Source: RFC 9068 2.1 (a token of another kind cannot be taken for an access token)."""

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


class Signer:
    """A private key that signs access tokens under a key id."""

    def __init__(self, key_id: str, algorithm: SignatureAlgorithm, private_key: bytes) -> None:
        """Load a private key as `new_key_pair` returned it."""
        self._key: Any = load_der_private_key(private_key, password=None)
        self._algorithm = get_default_algorithms()[algorithm.value]
        self._head = _encoded({"typ": ACCESS_TOKEN_TYPE, "kid": key_id, "alg": algorithm.value}) + b"."

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the claims as a signed token in compact form. Source: RFC 7515 3.1, 5.1."""
        # jwt.encode() prepares header and key anew for each token: half as long again.
        signed = self._head + _encoded(claims)
        return (signed + b"." + base64url_encode(self._algorithm.sign(signed, self._key))).decode("ascii")


def new_key_pair(key_id: str, algorithm: SignatureAlgorithm) -> tuple[str, bytes]:
    """Return the public key as a JWK in JSON, and the private key in PKCS #8. Source: RFC 7517 4."""
    is_eddsa = algorithm is SignatureAlgorithm.EDDSA
    key: PrivateKey = Ed25519PrivateKey.generate() if is_eddsa else generate_private_key(SECP256R1())
    public = get_default_algorithms()[algorithm.value].to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    jwk = {**public, "kid": key_id, "alg": algorithm.value, "use": "sig"}
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return json.dumps(jwk, sort_keys=True), private


def _encoded(value: Mapping[str, Any]) -> bytes:
    return base64url_encode(json.dumps(value, separators=(",", ":")).encode("ascii"))
