"""Responses of clients that lie: each is rejected by one exception, whatever the parsers make of it."""

import json
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollcall_testkit.passkeys import SoftwarePasskey

from service.security.webauthn import PasskeyRejected, Response, credential_of
from tests.support.webauthn import CHALLENGE, ORIGIN, RP, Json, base64url, bytes_of, options

PASSKEY = SoftwarePasskey()
MADE = PASSKEY.create(options(), ORIGIN)
PUBLIC_KEY = RP.verify_registration(MADE, CHALLENGE).public_key
LOGIN = PASSKEY.get(RP.login_options(CHALLENGE), ORIGIN)
AUTHENTICATOR_DATA = bytes_of(LOGIN["response"]["authenticatorData"])

EFFORT = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(-4, 4) | st.text(), inner, max_size=5)
        | st.builds(cbor2.CBORTag, st.integers(0, 300), inner)
    ),
    max_leaves=6,
)


ANY_CBOR = ANY_VALUE.map(cbor2.dumps)
MEMBERS = [
    *(
        (MADE, member)
        for member in ("id", "rawId", "type", "response", "clientDataJSON", "attestationObject")
    ),
    *(
        (LOGIN, member)
        for member in ("id", "rawId", "type", "clientDataJSON", "authenticatorData", "signature")
    ),
]


def reject(response: Response) -> None:
    """Every function rejects the response; none raises anything else."""
    for verify in (
        lambda: RP.verify_registration(response, CHALLENGE),
        lambda: RP.verify_login(response, CHALLENGE, PUBLIC_KEY, 0),
    ):
        with pytest.raises(PasskeyRejected):
            verify()
    with suppress(PasskeyRejected):  # it verifies nothing
        credential_of(response)


def changed(response: Json, member: str, value: object) -> Json:
    if member in response:
        return {**response, member: value}
    return {**response, "response": {**response["response"], member: value}}


@EFFORT
@given(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_rejected(body: bytes) -> None:
    reject(body)


@EFFORT
@given(st.dictionaries(st.text(), ANY_JSON))
def test_any_object_is_rejected(response: Json) -> None:
    reject(response)


@EFFORT
@given(st.sampled_from(MEMBERS), ANY_JSON)
def test_any_value_of_a_member_is_rejected(place: tuple[Json, str], value: object) -> None:
    reject(changed(*place, value))


@EFFORT
@given(st.sampled_from([MADE, LOGIN]), ANY_JSON)
def test_any_client_data_is_rejected(response: Json, data: object) -> None:
    reject(changed(response, "clientDataJSON", base64url(json.dumps(data).encode())))


@EFFORT
@given(st.binary() | ANY_CBOR)
def test_any_attestation_object_is_rejected(attestation: bytes) -> None:
    reject(changed(MADE, "attestationObject", base64url(attestation)))


@EFFORT
@given(st.sampled_from(["none", "packed"]), ANY_VALUE, ANY_CBOR, st.binary(max_size=8))
def test_any_key_and_statement_are_rejected(fmt: str, statement: object, key: bytes, rest: bytes) -> None:
    data = AUTHENTICATOR_DATA[:32] + b"\x45" + bytes(20) + b"\x00\x02id" + key + rest
    attestation = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": data})
    reject(changed(MADE, "attestationObject", base64url(attestation)))


@EFFORT
@given(st.data())
def test_flip_any_bit_of_a_login_is_rejected(data: st.DataObject) -> None:
    member = data.draw(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]))
    value = bytearray(bytes_of(LOGIN["response"][member]))
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    value[bit // 8] ^= 1 << bit % 8
    reject(changed(LOGIN, member, base64url(value)))


@EFFORT
@given(st.binary())
def test_any_public_key_of_a_stored_passkey_is_rejected(public_key: bytes) -> None:
    with pytest.raises(PasskeyRejected):
        RP.verify_login(LOGIN, CHALLENGE, public_key, 0)


BOMBS: list[Any] = [
    b"\x81" * 4000,
    b"\x9f" * 4000,
    b"\xa1\x00" * 2000,
    b"\xd8\x1c" * 2000,
    b"\x5b" + b"\xff" * 8,
    b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
    b"\xbb\x7f" + b"\xff" * 7,
    b"\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01",  # a decimal with nine million million million digits
    b"\xc5\x82\x1b\x00\x00\x00\x7f" + b"\xff" * 4 + b"\x01",
    b"\xd8\x23\x78\x20" + b"(a+)+b" * 5 + b"aa",  # a regular expression
    b"\xd8\x1d\x00",
    b"\xc0\x60",
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:3].hex())
def test_cbor_that_asks_for_memory_or_depth_is_rejected(bomb: bytes) -> None:
    reject(changed(MADE, "attestationObject", base64url(bomb)))
    data = AUTHENTICATOR_DATA[:32] + b"\x45" + bytes(20) + b"\x00\x02id" + bomb
    attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
    reject(changed(MADE, "attestationObject", base64url(attestation)))


@pytest.mark.parametrize("text", [b"[" * 60_000, b'{"a":' * 10_000, b"\xff\xfe", b"1" * 60_000, b"NaN"])
def test_json_that_asks_for_depth_is_rejected(text: bytes) -> None:
    reject(text)
    reject(changed(LOGIN, "clientDataJSON", base64url(text)))
