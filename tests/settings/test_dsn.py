from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.dsn import imply_writable, mask_dsn, normalise_dsn

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
        ("postgresql://a:1,[::1]:2/x", "postgresql://a:1,[::1]:2/x"),
        (
            "postgres://u:p@a:5432,b:5433/x?target_session_attrs=read-write&sslmode=verify-full",
            "postgresql://u:p@a:5432,b:5433/x?target_session_attrs=read-write&sslmode=verify-full",
        ),
        ("postgresql://db/x?sslmode=require&channel_binding=prefer", "postgresql://db/x?sslmode=require"),
        ("postgresql://db/x?channel_binding=disable", "postgresql://db/x"),
        ("postgresql://db/x?gssencmode=prefer&sslcertmode=allow&sslsni=1", "postgresql://db/x"),
        ("postgresql://db/x?client_encoding=utf8&keepalives_idle=30&tcp_user_timeout=9", "postgresql://db/x"),
        ("postgresql://db/x?connect_timeout=0", "postgresql://db/x"),
        ("postgresql://db/x?connect_timeout=10&jit=on", "postgresql://db/x?connect_timeout=10&jit=on"),
        (
            "postgresql://db/x?sslrootcert=system",
            "postgresql://db/x?sslrootcert=system&sslmode=verify-full",
        ),
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
        f"postgresql://u:{SECRET}@db/x?connect_timeout=61",
        f"postgresql://u:{SECRET}@db/x?connect_timeout=soon",
        f"postgresql://u:{SECRET}@db/x?sslrootcert=system&sslmode=require",
        "",
    ],
)
def test_normalise_dsn_for_anything_else_raises_without_quoting_it(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        normalise_dsn(raw)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "instead"),
    [
        ("channel_binding=require", "sslmode=verify-full"),
        ("client_encoding=latin1", "UTF-8"),
        ("connection_limit=1", "ROLLCALL_DATABASE__POOL_SIZE"),
        ("gssencmode=require", "sslmode=verify-full"),
        ("hostaddr=10.0.0.1", "in place of the host name"),
        ("load_balance_hosts=random", "a balancer"),
        ("pgbouncer=true", "ROLLCALL_DATABASE__PGBOUNCER=true"),
        ("require_auth=scram-sha-256", "pg_hba.conf"),
        ("schema=public", "options=-csearch_path"),
        ("sslcertmode=require", "sslcert and sslkey"),
        ("sslcrldir=/etc/crl", "sslcrl"),
    ],
)
def test_normalise_dsn_with_a_parameter_that_cannot_be_kept_names_it_and_the_remedy(
    parameter: str, instead: str
) -> None:
    name = parameter.partition("=")[0]
    with pytest.raises(ValueError, match=f"^must not have {name}\\b.*{instead}"):
        normalise_dsn(f"postgresql://u:{SECRET}@db/x?{parameter}")


@pytest.mark.parametrize(
    ("dsn", "implied"),
    [
        ("postgresql://a,b/x", "postgresql://a,b/x?target_session_attrs=read-write"),
        ("postgresql://u:p%2C@a/x", "postgresql://u:p%2C@a/x"),
        (
            "postgresql:///x?host=a,b&port=1,2",
            "postgresql:///x?host=a,b&port=1,2&target_session_attrs=read-write",
        ),
        ("postgresql://a,b/x?target_session_attrs=any", "postgresql://a,b/x?target_session_attrs=any"),
        ("postgresql:///x?host=a", "postgresql:///x?host=a"),
    ],
)
def test_imply_writable_asks_several_hosts_for_the_one_that_accepts_writes(dsn: str, implied: str) -> None:
    assert imply_writable(dsn) == implied


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
