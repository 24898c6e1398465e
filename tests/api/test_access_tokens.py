"""Access tokens and the keys that verify them."""

import json
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import KeySet
from pydantic import SecretStr

from service.security.encryption import SecretCipher
from settings.secrets import SecretsSettings
from settings.tokens import TokenSettings
from tests.support.api import Api, error_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

ISSUER = "https://accounts.example.org"
AUDIENCE = "https://orders.example.org"
KEY = b64encode(bytes(range(32))).decode()
JWKS = "/.well-known/jwks.json"
FIVE_MINUTES = 300


def settings_with_tokens(key: str = KEY, **tokens: Any) -> Any:
    chosen = {"audiences": f"{AUDIENCE},billing", **tokens}
    return settings_for_tests(
        public_url=ISSUER, secrets=SecretsSettings(key=SecretStr(key)), tokens=TokenSettings(**chosen)
    )


@pytest_asyncio.fixture
async def issuing(api: Api, shared_database: str) -> AsyncIterator[Api]:
    """A client of a service that issues access tokens."""
    async with serving(settings_with_tokens(), shared_database) as running, running.client() as client:
        yield Api(client, running.service)


async def issue(client: Api, audience: str = AUDIENCE) -> str:
    answer = await client.post("/v1/tokens", {"audience": audience})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def header_and_claims(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


async def verify(client: Api, token: str) -> dict[str, Any]:
    """Verify a token with another implementation than the one that signed it."""
    keys = KeySet.import_key_set((await client.get(JWKS)).json())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EdDSA has a newer name, which few verifiers know
        payload = jws.deserialize_compact(token, keys, algorithms=["EdDSA", "ES256"]).payload
    claims: dict[str, Any] = json.loads(payload)
    return claims


async def test_issue_token_names_session_user_and_audience(issuing: Api) -> None:
    """Source: RFC 9068 2."""
    ada = await issuing.account("ada")

    answer = await issuing.by(ada).post("/v1/tokens", {"audience": AUDIENCE})

    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", FIVE_MINUTES)
    header, claims = header_and_claims(body["access_token"])
    (key,) = (await issuing.get(JWKS)).json()["keys"]
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": key["kid"]}
    ((now, created),) = await fetch_values(
        issuing.service.engine,
        "SELECT extract(epoch FROM now()), extract(epoch FROM created_at) FROM sessions",
    )
    assert claims.pop("jti")
    assert abs(claims["iat"] - float(str(now))) < 30
    assert claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(ada.id),
        "client_id": "rollcall",
        "sid": str(ada.session_id),
        "role": "user",
        "auth_time": int(float(str(created))),
        "amr": ["pwd"],
        "acr": "1",
        "iat": claims["iat"],
        "exp": claims["iat"] + FIVE_MINUTES,
    }


@pytest.mark.parametrize("algorithm", ["es256", "eddsa"])
async def test_issued_token_is_verified_with_the_published_key(
    api: Api, shared_database: str, algorithm: str
) -> None:
    settings = settings_with_tokens(algorithm=algorithm)
    async with serving(settings, shared_database) as running, running.client() as client:
        ours = Api(client, running.service)
        token = await issue(ours.by(await ours.account("ada")))
        assert (await verify(ours, token))["iss"] == ISSUER
        (key,) = (await ours.get(JWKS)).json()["keys"]
    public = {"es256": {"kty", "crv", "x", "y"}, "eddsa": {"kty", "crv", "x"}}[algorithm]
    assert key.keys() == public | {"kid", "alg", "use"}
    assert key["use"] == "sig"


async def test_issue_two_tokens_gives_them_two_ids(issuing: Api) -> None:
    ada = issuing.by(await issuing.account("ada"))
    ids = {header_and_claims(await issue(ada))[1]["jti"] for _ in range(2)}
    assert len(ids) == 2


async def test_access_token_is_no_credential_here(issuing: Api) -> None:
    """Source: OWASP ASVS 5.0 9.2.2."""
    token = await issue(issuing.by(await issuing.account("ada")))
    refused = await issuing.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert error_of(refused) == (401, "invalid_token")


async def test_issue_token_for_an_unknown_audience_is_rejected(issuing: Api) -> None:
    ada = issuing.by(await issuing.account("ada"))
    refused = await ada.post("/v1/tokens", {"audience": "https://elsewhere.example.org"})
    assert error_of(refused) == (422, "unknown_audience")
    assert "elsewhere" not in refused.text
    assert await issue(ada, "billing")


@pytest.mark.parametrize("column", ["expires_at", "idle_expires_at"])
async def test_issue_token_just_before_its_session_ends_ends_with_it(issuing: Api, column: str) -> None:
    ada = await issuing.account("ada")
    await execute(issuing.service.engine, f"UPDATE sessions SET {column} = now() + interval '1 minute'")
    ((end,),) = await fetch_values(
        issuing.service.engine, f"SELECT floor(extract(epoch FROM {column}))::bigint FROM sessions"
    )
    claims = header_and_claims(await issue(issuing.by(ada)))[1]
    assert claims["exp"] == end


async def test_issue_token_after_logout_is_rejected(issuing: Api) -> None:
    ada = issuing.by(await issuing.account("ada"))
    assert await issue(ada)
    await ada.delete("/v1/sessions/current")
    assert error_of(await ada.post("/v1/tokens", {"audience": AUDIENCE})) == (401, "invalid_token")


async def test_issue_token_during_a_forced_change_is_rejected(issuing: Api) -> None:
    ada = issuing.by(await issuing.account("ada", must_change=True))
    refused = await ada.post("/v1/tokens", {"audience": AUDIENCE})
    assert error_of(refused) == (403, "password_change_required")


async def test_get_jwks_says_for_how_long_to_keep_the_keys(issuing: Api) -> None:
    answer = await issuing.get(JWKS)
    assert answer.headers.get_list("Cache-Control") == ["public, max-age=900"]
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("missing", ["public_url", "audiences", "secrets"])
async def test_access_tokens_without_a_setting_get_404(api: Api, shared_database: str, missing: str) -> None:
    chosen: dict[str, Any] = {
        "public_url": ISSUER,
        "tokens": TokenSettings(audiences=AUDIENCE),  # type: ignore[arg-type]
        "secrets": SecretsSettings(key=SecretStr(KEY)),
    }
    left_out = {"public_url": None, "tokens": TokenSettings(), "secrets": SecretsSettings()}
    name = {"audiences": "tokens"}.get(missing, missing)
    chosen[name] = left_out[name]
    async with serving(settings_for_tests(**chosen), shared_database) as running, running.client() as client:
        ours = Api(client, running.service)
        ada = ours.by(await ours.account("ada"))
        assert error_of(await ada.post("/v1/tokens", {"audience": AUDIENCE})) == (404, "not_found")
        hidden = await ada.get(JWKS)
        assert error_of(hidden) == (404, "not_found")
        assert hidden.headers["Cache-Control"] == "no-store"
        assert await fetch_values(ours.service.engine, "SELECT count(*) FROM signing_keys") == [(0,)]


async def test_metadata_with_tokens_names_the_keys(issuing: Api) -> None:
    metadata = (await issuing.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["jwks_uri"] == f"{ISSUER}{JWKS}"


async def test_private_keys_are_encrypted_in_the_database(issuing: Api) -> None:
    ((stored,),) = await fetch_values(issuing.service.engine, "SELECT private_key FROM signing_keys")
    cipher = issuing.service.cipher
    assert cipher is not None
    assert isinstance(stored, bytes)
    assert stored.startswith(cipher.header)
    assert b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01" not in stored  # id-ecPublicKey, in every PKCS #8 of one


async def test_issue_token_with_another_secrets_key_fails_and_tells_nobody(
    issuing: Api, shared_database: str
) -> None:
    ada = await issuing.account("ada")
    other = b64encode(bytes(32)).decode()
    async with serving(settings_with_tokens(other), shared_database) as running, running.client() as client:
        failed = await Api(client, running.service).by(ada).post("/v1/tokens", {"audience": AUDIENCE})
        assert error_of(failed) == (500, "internal_error")
    assert await issue(issuing.by(ada))


async def test_tokens_without_their_table_get_503_and_work_once_it_is_there(database: str) -> None:
    async with serving(settings_with_tokens(), database) as running, running.client() as client:
        engine = running.service.engine
        await execute(engine, "ALTER TABLE signing_keys RENAME TO hidden")
        ours = Api(client, running.service)
        ada = ours.by(await ours.account("ada"))
        for answer in (await ada.post("/v1/tokens", {"audience": AUDIENCE}), await ada.get(JWKS)):
            assert error_of(answer) == (503, "schema_behind")
        assert (await ada.get("/v1/users/me")).status_code == 200
        await execute(engine, "ALTER TABLE hidden RENAME TO signing_keys")
        assert (await verify(ours, await issue(ada)))["aud"] == AUDIENCE


async def test_issue_token_decrypts_the_key_once(issuing: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = issuing.by(await issuing.account("ada"))
    await issue(ada)
    monkeypatch.delattr(SecretCipher, "decrypt")
    assert await issue(ada)


async def test_access_ttl_shortens_the_tokens(api: Api, shared_database: str) -> None:
    settings = settings_with_tokens(access_ttl=timedelta(seconds=45))
    async with serving(settings, shared_database) as running, running.client() as client:
        ours = Api(client, running.service)
        claims = header_and_claims(await issue(ours.by(await ours.account("ada"))))[1]
    assert claims["exp"] - claims["iat"] == 45
