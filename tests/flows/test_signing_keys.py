"""Rotation of signing keys, as verifiers see it that keep the published keys."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest_asyncio

from service.domain.callers import OPERATOR
from service.domain.signing import (
    JWKS_MAX_AGE,
    MAX_ACCESS_TTL,
    PUBLISHED_AFTER,
    PUBLISHED_BEFORE,
    ROTATION_INTERVAL,
)
from service.usecases.secrets import rotate_secrets
from service.usecases.signing_keys import REFRESH_INTERVAL, SigningKeyRing, rotate
from tests.api.test_access_tokens import AUDIENCE, ISSUER, JWKS, KEY, issue, settings_with_tokens
from tests.support.api import Api, serving
from tests.support.databases import IS_WAITING, execute, fetch_values

COUNT = "SELECT count(*) FROM signing_keys"
AGE_ALL = (
    "UPDATE signing_keys SET created_at = created_at - CAST(:age AS interval),"
    " signs_from = signs_from - CAST(:age AS interval), ends_at = ends_at - CAST(:age AS interval)"
)


@pytest_asyncio.fixture
async def issuing(api: Api, shared_database: str) -> AsyncIterator[Api]:
    async with serving(settings_with_tokens(), shared_database) as running, running.client() as client:
        yield Api(client, running.service)


def ring_of(api: Api) -> SigningKeyRing:
    ring = api.service.signing_keys
    assert ring is not None
    return ring


async def age_keys(api: Api, age: str) -> None:
    """Let time pass for the keys, and for what the process keeps of them."""
    await execute(api.service.engine, AGE_ALL.replace(":age", f"'{age}'"))
    ring_of(api).invalidate()


class CachingVerifier(jwt.PyJWKClient):
    """PyJWT's client, which keeps the published keys and reads them again for an unknown key alone."""

    def __init__(self, api: Api) -> None:
        super().__init__(f"{ISSUER}{JWKS}", cache_keys=True, lifespan=3600)
        self._api = api
        self._published: dict[str, Any] = {}
        self.reads = 0

    def fetch_data(self) -> Any:
        """Read without a network."""
        self.reads += 1
        assert self.jwk_set_cache is not None
        self.jwk_set_cache.put(self._published)
        return self._published

    async def verify(self, token: str) -> dict[str, Any]:
        """Verify a token; the keys can be read."""
        self._published = (await self._api.get(JWKS)).json()
        key = self.get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER
        )
        return claims


async def rotate_now(api: Api) -> None:
    cipher, policy = api.service.cipher, api.service.policies.access_tokens
    assert cipher is not None
    assert policy is not None
    await api.service.database.run(
        lambda tx: rotate(tx, cipher=cipher, algorithm=policy.algorithm), caller=OPERATOR
    )


def test_overlap_of_keys_is_longer_than_what_verifiers_keep_and_tokens_last() -> None:
    assert PUBLISHED_BEFORE >= JWKS_MAX_AGE + REFRESH_INTERVAL
    assert PUBLISHED_AFTER >= MAX_ACCESS_TTL + REFRESH_INTERVAL
    assert ROTATION_INTERVAL > PUBLISHED_BEFORE + PUBLISHED_AFTER


async def test_rotation_is_not_noticed_by_a_verifier_that_keeps_the_keys(issuing: Api) -> None:
    ada = issuing.by(await issuing.account("ada"))
    first = await issue(ada)

    await rotate_now(issuing)
    await age_keys(issuing, "0")
    published_only = await issue(ada)
    assert key_id(published_only) == key_id(first)

    verifier = CachingVerifier(issuing)  # reads the keys before the new one signs
    assert (await verifier.verify(first))["iss"] == ISSUER
    await age_keys(issuing, "61 minutes")
    second = await issue(ada)
    assert key_id(second) != key_id(first)
    await verifier.verify(second)
    await verifier.verify(first)
    assert verifier.reads == 1

    await CachingVerifier(issuing).verify(first)  # its last tokens are still verified
    await age_keys(issuing, "30 minutes")
    assert [key["kid"] for key in (await issuing.get(JWKS)).json()["keys"]] == [key_id(second)]


def key_id(token: str) -> str:
    found: str = jwt.get_unverified_header(token)["kid"]
    return found


async def test_key_that_is_old_is_replaced_and_one_that_has_ended_deleted(issuing: Api) -> None:
    ring = ring_of(issuing)
    await ring.rotate_if_due()
    assert await fetch_values(issuing.service.engine, COUNT) == [(1,)]
    await age_keys(issuing, "30 days")
    await ring.rotate_if_due()
    assert await fetch_values(issuing.service.engine, COUNT) == [(2,)]
    await age_keys(issuing, "1 day")
    await ring.rotate_if_due()
    assert await fetch_values(issuing.service.engine, COUNT) == [(1,)]


async def test_rotation_by_several_processes_at_once_adds_one_key(issuing: Api) -> None:
    engine = issuing.service.engine
    await age_keys(issuing, "30 days")
    async with engine.begin() as other_process:
        await other_process.exec_driver_sql("SELECT pg_advisory_xact_lock(8242558622567392628)")
        rotations = asyncio.gather(*(ring_of(issuing).rotate_if_due() for _ in range(5)))
        async with asyncio.timeout(60):
            while await fetch_values(engine, IS_WAITING) == [(False,)]:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
    await rotations
    assert await fetch_values(engine, COUNT) == [(2,)]


async def test_first_tokens_of_several_at_once_come_from_one_key(issuing: Api) -> None:
    await execute(issuing.service.engine, "DELETE FROM signing_keys")
    ring_of(issuing).invalidate()
    ada = issuing.by(await issuing.account("ada"))
    tokens = await asyncio.gather(*(issue(ada) for _ in range(5)))
    assert len({key_id(token) for token in tokens}) == 1
    assert len((await issuing.get(JWKS)).json()["keys"]) == 1


async def test_change_of_the_algorithm_rotates_the_key(issuing: Api, shared_database: str) -> None:
    settings = settings_with_tokens(algorithm="eddsa")
    async with serving(settings, shared_database) as running, running.client() as client:
        ours = Api(client, running.service)
        algorithms = [key["alg"] for key in (await ours.get(JWKS)).json()["keys"]]
        assert algorithms == ["ES256", "EdDSA"]
        ada = ours.by(await ours.account("ada"))
        assert jwt.get_unverified_header(await issue(ada))["alg"] == "ES256"
        await age_keys(ours, "61 minutes")
        assert jwt.get_unverified_header(await issue(ada))["alg"] == "EdDSA"


async def test_rotation_is_in_the_audit_trail(issuing: Api) -> None:
    found = await fetch_values(
        issuing.service.engine,
        "SELECT actor_kind, subject_id = (SELECT id FROM signing_keys) FROM events"
        " WHERE action = 'signing_key.rotated'",
    )
    assert found == [("operator", True)]


async def test_rotate_secrets_encrypts_under_the_newest_key_while_tokens_are_issued(
    issuing: Api, shared_database: str
) -> None:
    new, ada = b64encode(bytes(range(1, 33))).decode(), await issuing.account("ada")
    await rotate_now(issuing)
    await issue(issuing.by(ada))
    async with serving(settings_with_tokens(f"{new},{KEY}"), shared_database) as running:
        cipher = running.service.cipher
        assert cipher is not None
        for expected in (2, 0):
            result, _ = await rotate_secrets(running.service.database, cipher, batch=1)
            assert (result.done, result.unreadable) == (expected, 0)
        assert await issue(issuing.by(ada))  # from memory
    async with serving(settings_with_tokens(new), shared_database) as running, running.client() as client:
        assert await issue(Api(client, running.service).by(ada))


async def test_rotate_secrets_of_an_unknown_key_leaves_and_counts_them(
    issuing: Api, shared_database: str
) -> None:
    before = await fetch_values(issuing.service.engine, "SELECT private_key FROM signing_keys")
    other = b64encode(bytes(32)).decode()
    async with serving(settings_with_tokens(other), shared_database) as running:
        cipher = running.service.cipher
        assert cipher is not None
        result, _ = await rotate_secrets(running.service.database, cipher, batch=1)
    assert (result.done, result.unreadable) == (0, 1)
    assert await fetch_values(issuing.service.engine, "SELECT private_key FROM signing_keys") == before
    assert json.loads((await issuing.get(JWKS)).content)["keys"]
