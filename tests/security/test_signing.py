"""Signatures, held against the vectors of the standards and another implementation."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from joserfc.jwk import ECKey, OKPKey

from service.domain.signing import SignatureAlgorithm
from service.security.signing import Signer, new_key_pair


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_sign_with_the_key_of_rfc_8037_gives_its_signature() -> None:
    """Source: RFC 8037 A.4."""
    private = Ed25519PrivateKey.from_private_bytes(decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
    token = jwt.api_jws.encode(
        b"Example of Ed25519 signing", private, algorithm="EdDSA", headers={"typ": None}, sort_headers=False
    )
    assert token == (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    head, payload, signature = Signer("a", SignatureAlgorithm.EDDSA, der).sign({"sub": "x"}).split(".")
    assert decode(signature) == private.sign(f"{head}.{payload}".encode())  # deterministic


def test_public_key_of_rfc_8037_has_its_form() -> None:
    """Source: RFC 8037 A.2."""
    private = Ed25519PrivateKey.from_private_bytes(decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    jwk = OKPKey.import_key(der).as_dict(private=False)
    assert (jwk["kty"], jwk["crv"], jwk["x"]) == (
        "OKP", "Ed25519", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    )  # fmt: skip


def test_verify_the_signature_of_rfc_7515_with_our_curve() -> None:
    """Source: RFC 7515 A.3."""
    token = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
        "c19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3"
        "-Kg6NU1Q"
    )
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    assert jwt.api_jws.decode(token, jwt.PyJWK(jwk, algorithm="ES256"), algorithms=["ES256"])


@pytest.mark.parametrize("algorithm", SignatureAlgorithm)
def test_sign_with_a_new_key_is_verified_by_its_public_half_alone(algorithm: SignatureAlgorithm) -> None:
    public_jwk, private_key = new_key_pair("key-1", algorithm)
    token = Signer("key-1", algorithm, private_key).sign({"sub": "ada"})
    head, payload, signature = token.split(".")
    public: Any = jwt.PyJWK(json.loads(public_jwk)).key

    assert json.loads(decode(head)) == {"alg": algorithm.value, "typ": "at+jwt", "kid": "key-1"}
    assert json.loads(decode(payload)) == {"sub": "ada"}
    verify(public, decode(signature), f"{head}.{payload}".encode())
    with pytest.raises(InvalidSignature):
        verify(public, decode(signature), f"{head}.{encode(b'{}')}".encode())


def verify(public: Ed25519PublicKey | EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
    assert len(signature) == 64  # RFC 7518 3.4: R and S, no DER
    if isinstance(public, Ed25519PublicKey):
        public.verify(signature, signed)
        return
    numbers = (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    public.verify(encode_dss_signature(*numbers), signed, ECDSA(SHA256()))


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(("algorithm", "kind"), [("ES256", ECKey), ("EdDSA", OKPKey)])
def test_public_key_has_its_use_and_nothing_private(algorithm: str, kind: Any) -> None:
    public_jwk, private_key = new_key_pair("key-1", SignatureAlgorithm(algorithm))
    jwk = json.loads(public_jwk)
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == ("key-1", algorithm, "sig")
    assert "d" not in jwk
    ours = kind.import_key(private_key).as_dict(private=False)
    assert {name: jwk[name] for name in ours if name != "kid"} == {
        name: value for name, value in ours.items() if name != "kid"
    }


def test_two_new_keys_differ() -> None:
    first, second = (new_key_pair("k", SignatureAlgorithm.ES256)[1] for _ in range(2))
    assert load_der_private_key(first, None) != load_der_private_key(second, None)
    assert first != second
