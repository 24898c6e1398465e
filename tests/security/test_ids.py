from uuid import UUID

from service.domain.ids import parse_id
from service.security.ids import new_id, new_request_id


def assert_distinct_uuid7_in_order_of_time(ids: list[UUID]) -> None:
    assert {(value.version, value.variant) for value in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == len(ids)
    milliseconds = [value.int >> 80 for value in ids]
    assert milliseconds == sorted(milliseconds)


def test_new_id_returns_uuid7_in_order_of_time() -> None:
    assert_distinct_uuid7_in_order_of_time([new_id() for _ in range(100)])


def test_new_request_id_returns_canonical_uuid7_in_order_of_time() -> None:
    parsed = [parse_id(new_request_id()) for _ in range(100)]
    assert_distinct_uuid7_in_order_of_time([value for value in parsed if value is not None])
    assert None not in parsed
