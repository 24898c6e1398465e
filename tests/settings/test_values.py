from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from settings.values import Networks, canonical_origin, format_duration, parse_duration, split_list


@pytest.mark.parametrize(
    ("raw", "span"),
    [
        ("7d", timedelta(days=7)),
        ("30m", timedelta(minutes=30)),
        ("10s", timedelta(seconds=10)),
        ("300ms", timedelta(milliseconds=300)),
        ("12H", timedelta(hours=12)),
        ("1h30m", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("1.5s", timedelta(seconds=1.5)),
        ("PT10S", timedelta(seconds=10)),
        ("P7DT12H", timedelta(days=7, hours=12)),
        ("PT0.3S", timedelta(milliseconds=300)),
        (" 90 ", timedelta(seconds=90)),
        ("0.25", timedelta(milliseconds=250)),
        (5, timedelta(seconds=5)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_parse_duration_in_any_notation_returns_the_timedelta(raw: object, span: timedelta) -> None:
    assert parse_duration(raw) == span


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "soon",
        "7 d",
        "-1s",
        "1y",
        "P1Y",
        "P1M",
        "P",
        "PT",
        "1s1m",
        "nan",
        "1e3",
        "\u0663s",
        "999999999999w",
        None,
    ],
)
def test_parse_duration_of_anything_else_raises(raw: object) -> None:
    with pytest.raises(ValueError, match="such as 300ms"):
        parse_duration(raw)


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_format_duration_of_any_time_reads_back(span: timedelta) -> None:
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=24), "1d"),
        (timedelta(minutes=90), "90m"),
        (timedelta(milliseconds=1500), "1500ms"),
    ],
)
def test_format_duration_of_a_round_time_uses_the_largest_unit(span: timedelta, text: str) -> None:
    assert format_duration(span) == text


@pytest.mark.parametrize(
    ("raw", "entries"),
    [("a, b ,,c", ["a", "b", "c"]), ('["a", "b"]', ["a", "b"]), ("", []), ("[]", []), (("a",), ("a",))],
)
def test_split_list_in_either_notation_returns_the_entries(raw: object, entries: object) -> None:
    assert split_list(raw) == entries


@pytest.mark.parametrize("raw", ["[1]", '["a"', '{"a": 1}', '"a"', "[" * 100_000])
def test_split_list_of_other_json_raises(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        split_list(raw)


@pytest.mark.parametrize(
    ("raw", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_canonical_origin_of_an_exact_origin_is_the_one_browsers_send(raw: str, origin: str) -> None:
    assert canonical_origin(raw) == origin


@pytest.mark.parametrize(
    "raw",
    ["*", "null", "https://*.example.com", "https://a.example/", "https://u@a.example", "a.example", "https://",
     "https://a:0", "https://a:65536", "https://\u212a.example", "https://a?b", "https://a\n"],
)  # fmt: skip
def test_canonical_origin_of_anything_else_raises(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        canonical_origin(raw)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "proxy.internal", "10.0.0.0/33"])
def test_networks_of_anything_else_are_rejected(text: str) -> None:
    networks = TypeAdapter[object](Networks)
    with pytest.raises(ValueError, match="valid IPv4 network"):
        networks.validate_python([text])
