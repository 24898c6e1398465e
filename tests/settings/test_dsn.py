from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.dsn import mask_dsn, normalise_dsn

SECRET = "g3heim"


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgres://u:p@db:5433/x", "postgresql://u:p@db:5433/x"),
        ("postgresql+asyncpg://u@db/x", "postgresql://u@db/x"),
        ("POSTGRES://db/x", "postgresql://db/x"),
        ("  postgresql://db/x\n", "postgresql://db/x"),
        ("postgresql://", "postgresql://"),
        ("postgresql:///x?host=/run/postgresql", "postgresql:///x?host=/run/postgresql"),
        ("postgresql://%2Frun%2Fpostgresql/x", "postgresql://%2Frun%2Fpostgresql/x"),
        ("postgresql://[::1]:5432/x", "postgresql://[::1]:5432/x"),
        (
            "postgres://u:p@a:5432,b:5433/x?target_session_attrs=read-write&sslmode=verify-full",
            "postgresql://u:p@a:5432,b:5433/x?target_session_attrs=read-write&sslmode=verify-full",
        ),
        ("postgresql://db/x?sslmode=require&channel_binding=require", "postgresql://db/x?sslmode=require"),
        ("postgresql://db/x?channel_binding=require", "postgresql://db/x"),
        ("postgresql://db/x?connect_timeout=10&application_name=a", "postgresql://db/x?application_name=a"),
        ("postgresql+asyncpg://db/x?ssl=require", "postgresql://db/x?sslmode=require"),
        ("postgresql://db/x?p%61ssword=p", "postgresql://db/x?password=p"),
        ("postgresql://db/x?options=-c%20jit%3Doff", "postgresql://db/x?options=-c%20jit%3Doff"),
        ("postgresql:///x?host=a,b&port=1,2", "postgresql:///x?host=a,b&port=1,2"),
    ],
)
def test_normalise_dsn_for_a_libpq_url_returns_the_form_of_the_driver(raw: str, normal: str) -> None:
    assert normalise_dsn(raw) == normal
    assert normalise_dsn(normal) == normal


@pytest.mark.parametrize(
    "raw",
    [
        f"mysql://u:{SECRET}@db/x",
        f"postgresql+psycopg://u:{SECRET}@db/x",
        f"u:{SECRET}@db/x",
        f"host=db password={SECRET}",
        f"postgresql:u:{SECRET}@db/x",
        f"postgresql:/u:{SECRET}@db/x",
        f"postgresql://u:{SECRET}@db:0/x",
        f"postgresql://u:{SECRET}@db:65536/x",
        f"postgresql://u:{SECRET}@db:port/x",
        f"postgresql://u:{SECRET}@db,/x",
        f"postgresql://u:{SECRET}@[::1/x",
        f"postgresql://u:{SECRET}@a]b/x",
        f"postgresql://u:{SECRET}@db/x/y",
        f"postgresql://u:a@{SECRET}@db/x",
        f"postgresql://u:1/{SECRET}@db/x",
        f"postgresql://u:1?{SECRET}@db/x",
        f"postgresql://u:1#{SECRET}@db/x",
        f"postgresql://u:%{SECRET}@db/x",
        f"postgresql://u:%00{SECRET}@db/x",
        f"postgresql://u:{SECRET} @db/x",
        f"postgresql://u:{SECRET}\x7f@db/x",
        f"postgresql://u:{SECRET}@\u2100/x",
        f"postgresql://u:{SECRET}@db/x?sslmode=on",
        f"postgresql://u:{SECRET}@db/x?ssl=true",
        f"postgresql://u:{SECRET}@db/x?target_session_attrs=master",
        f"postgresql://u:{SECRET}@db/x?sslmode",
        f"postgresql://u:{SECRET}@db/x?sslmode=",
        f"postgresql://u:{SECRET}@db/x?=1",
        f"postgresql://u:{SECRET}@db/x?host=a&port=b",
        "",
    ],
)
def test_normalise_dsn_for_anything_else_raises_without_quoting_it(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        normalise_dsn(raw)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "masked"),
    [
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://u@db/x", "postgresql://u@db/x"),
        ("postgresql://u:p@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:p:q@a,b/x", "postgresql://u:***@a,b/x"),
        ("postgresql://:p@/x", "postgresql://:***@/x"),
        ("postgresql:///x?password=p&host=/run", "postgresql:///x?password=***&host=/run"),
        ("postgresql:///x?sslmode=require&sslpassword=p", "postgresql:///x?sslmode=require&sslpassword=***"),
        ("postgresql://u:p@db/x?Password=q", "postgresql://u:***@db/x?Password=***"),
    ],
)
def test_mask_dsn_replaces_every_password(dsn: str, masked: str) -> None:
    assert mask_dsn(dsn) == masked


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_mask_dsn_for_an_escaped_password_replaces_it(password: str) -> None:
    marked = quote(f"<{password}>", safe="")
    raw = f"postgres://user:{marked}@db:5432/x?sslmode=require&password={marked}&sslpassword={marked}"
    dsn = normalise_dsn(raw)
    assert dsn.count(marked) == 3
    assert mask_dsn(dsn) == "postgresql://user:***@db:5432/x?sslmode=require&password=***&sslpassword=***"


@given(st.text(max_size=60).map("postgresql://".__add__))
def test_normalise_dsn_for_any_text_is_idempotent_or_raises(raw: str) -> None:
    try:
        dsn = normalise_dsn(raw)
    except ValueError:
        return
    assert normalise_dsn(dsn) == dsn
