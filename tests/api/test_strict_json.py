"""JSON has one meaning here, or is refused."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.errors import MalformedJson, UnsupportedMediaType
from service.api.http.strict_json import MAX_DEPTH, check_json, decode, require_media_type
from service.api.openapi.problems_page import FIELD_CODES
from service.domain.errors import FieldError, ValidationFailed

SECRET = "hunter2-hunter2"


class Colour(StrEnum):
    RED = "red"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=20, pattern="^[^!]*$")]
    count: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    ratio: float = 0.0
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    colour: Colour = Colour.RED
    note: str | None = None
    at: datetime | None = None


def fault_of(body: bytes) -> FieldError:
    with pytest.raises(ValidationFailed) as caught:
        decode(body, Body)
    (fault,) = caught.value.errors
    assert fault.code in FIELD_CODES
    assert SECRET not in fault.detail
    return fault


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} x",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"[-Infinity]",
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\x01"}',
        b'{"a":"\x00"}',
        b"{'a':1}",
        b"[1,]",
        b"[01]",
        b"[+1]",
        b"[1.]",
    ],
)
def test_check_json_with_malformed_document_rejects(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'[{"b":{"c":1,"d":2,"c":3}}]', b'{"":1,"":2}'],
)
def test_check_json_with_repeated_key_rejects(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"a":{"a":1}},"b":{"a":2}}',
        b"null",
        b'"\\ud83d\\ude00"',
        b'"\\u0000"',
        b'"\\\\ud800"',
        b"[1e400, 1e-400]",
        b"[" + b"9" * 20_000 + b"]",
    ],
)
def test_check_json_with_one_meaning_passes(body: bytes) -> None:
    check_json(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 10_000, 30_000])
def test_check_json_with_deep_document_rejects(opening: bytes, depth: int) -> None:
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"a":': b"}]"}[opening]
    with pytest.raises(MalformedJson):
        check_json(opening * depth + b"1" + closing * depth)


def test_check_json_at_greatest_depth_passes() -> None:
    check_json(nested(MAX_DEPTH))
    check_json(b"[" + b",".join([nested(MAX_DEPTH - 1)] * 40) + b"]")


def test_check_json_with_many_brackets_in_text_passes() -> None:
    check_json(json.dumps({"a": "[{" * 5000}).encode())


def test_check_json_with_unclosed_quotes_rejects() -> None:
    with pytest.raises(MalformedJson):
        check_json(b'["' + b'\\"' * 30_000 + b"[" * 40)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dD8ae1-.x ', max_size=30).map(str.encode))
def test_decode_with_any_bytes_gives_value_or_error(body: bytes) -> None:
    try:
        decode(body, Body)
    except (MalformedJson, ValidationFailed):
        return


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(documents, st.booleans())
def test_decode_with_any_valid_document_equals_the_standard_library(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode()
    wanted = json.loads(body)

    assert decode(b'{"value":' + body + b"}", Holder).value == wanted


class Holder(msgspec.Struct, forbid_unknown_fields=True):
    value: Any


@given(st.dictionaries(st.text(max_size=5), documents, min_size=1, max_size=4))
def test_check_json_with_any_key_said_twice_rejects(members: dict[str, Any]) -> None:
    pairs = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members.items()]
    body = "{" + ",".join(pairs) + "}"
    check_json(body.encode())

    with pytest.raises(MalformedJson):
        check_json(("{" + ",".join([*pairs, pairs[0]]) + "}").encode())


def test_decode_with_valid_body_gives_the_struct() -> None:
    body = decode(b'{"name":"x","count":9,"parts":[{"size":1}],"note":null}', Body)

    assert body == Body(name="x", count=9, parts=[Part(1)])


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"null", "", "wrong_type"),
        (b"[]", "", "wrong_type"),
        (b"7", "", "wrong_type"),
        (b'"hunter2-hunter2"', "", "wrong_type"),
        (b"{}", "/name", "missing_field"),
        (b'{"name":"x","role":"hunter2-hunter2"}', "/role", "unknown_field"),
        (b'{"name":"x","a/b~c":1}', "/a~1b~0c", "unknown_field"),
        (b'{"name":"x","a` - at `$.b":1}', "/b/a", "unknown_field"),
        (b'{"name":"x","line\\nbreak":1}', "/line\nbreak", "unknown_field"),
        (b'{"name":"x","' + b"z" * 65 + b'":1}', "", "unknown_field"),
        (b'{"name":1}', "/name", "wrong_type"),
        (b'{"name":null}', "/name", "wrong_type"),
        (b'{"name":"x","count":"1"}', "/count", "wrong_type"),
        (b'{"name":"x","count":1.0}', "/count", "wrong_type"),
        (b'{"name":"x","count":true}', "/count", "wrong_type"),
        (b'{"name":"x","note":1}', "/note", "wrong_type"),
        (b'{"name":""}', "/name", "too_short"),
        (b'{"name":"hunter2-hunter2-hunter2-hunter2"}', "/name", "too_long"),
        (b'{"name":"hunter2-hunter2!"}', "/name", "invalid_value"),
        (b'{"name":"x","count":-1}', "/count", "out_of_range"),
        (b'{"name":"x","count":10}', "/count", "out_of_range"),
        (b'{"name":"x","count":' + b"9" * 5000 + b"}", "/count", "out_of_range"),
        (b'{"name":"x","ratio":1e400}', "/ratio", "out_of_range"),
        (b'{"name":"x","colour":"hunter2-hunter2"}', "/colour", "invalid_value"),
        (b'{"name":"x","at":"hunter2-hunter2"}', "/at", "invalid_value"),
        (b'{"name":"x","parts":[{"size":1},{"size":"1"}]}', "/parts/1/size", "wrong_type"),
        (b'{"name":"x","parts":[{"size":1},{}]}', "/parts/1/size", "missing_field"),
        (b'{"name":"x","parts":[{"size":1,"a":1}]}', "/parts/0/a", "unknown_field"),
        (b'{"name":"x","by_name":{"hunter2-hunter2":1}}', "/by_name", "wrong_type"),
    ],
)
def test_decode_with_broken_rule_points_at_it(body: bytes, pointer: str, code: str) -> None:
    fault = fault_of(body)

    assert (fault.pointer, fault.code) == (pointer, code)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"name":1}', "The JSON type must be string."),
        (b'{"name":"x","note":1}', "The JSON type must be string or null."),
        (b'{"name":"hunter2-hunter2-hunter2"}', "The length must be at most 20."),
        (b'{"name":"x","count":10}', "The number must be at most 9."),
    ],
)
def test_decode_with_broken_rule_says_the_rule(body: bytes, detail: str) -> None:
    assert fault_of(body).detail == detail


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json ; charset=UTF-8 ",
        b"application/json; charset=utf8",
        b"application/json; charset='utf-8'",
        b'application/json; charset="UTF8"',
        b"application/json; charset=; boundary=x",
    ],
)
def test_require_media_type_with_json_in_utf_8_gives_the_media_type(content_type: bytes) -> None:
    assert require_media_type(content_type) == "application/json"
    for coding in (b"identity", b"", b" Identity "):
        assert require_media_type(content_type, content_encoding=coding) == "application/json"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"text/plain",
        b"application/jsonp",
        b"application/problem+json",
        b"application/merge-patch+json",
        b"application/json, text/plain",
        b"application/json; charset=utf-16",
        b"application/json; charset=utf-8; charset=latin-1",
        b"multipart/form-data; boundary=x",
        b"application/x-www-form-urlencoded",
        b"\xff",
    ],
)
def test_require_media_type_with_another_type_rejects(content_type: bytes | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        require_media_type(content_type)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"x"])
def test_require_media_type_with_content_encoding_rejects(encoding: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        require_media_type(b"application/json", content_encoding=encoding)


def test_require_media_type_with_a_type_allowed_besides_gives_it() -> None:
    merge_patch = "application/merge-patch+json"

    assert require_media_type(b"Application/Merge-Patch+JSON", (merge_patch,)) == merge_patch


def test_require_media_type_of_a_form_ignores_its_charset() -> None:
    form = "application/x-www-form-urlencoded"

    assert require_media_type(b"application/x-www-form-urlencoded; charset=ISO-8859-1", (form,)) == form
