"""What the database keeps of login ids that were tried: digests that need a key to be guessed."""

import hmac
from base64 import b64encode
from hashlib import sha256

import pytest
from pydantic import SecretStr

from service.services import Services
from service.usecases.cleanup import purge_expired
from settings.secrets import SecretsSettings
from tests.flows.throttling import guess
from tests.support.api import Api, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

SECRET = b"s" * 32


async def key_of(service: Services) -> bytes:
    """Return the only key of the database."""
    ((key,),) = await fetch_values(service.engine, "SELECT key FROM throttle_keys")
    assert isinstance(key, bytes)
    return key


def stored(key: bytes, secret: bytes, counted: bytes) -> bytes:
    return sha256(key + hmac.digest(secret, b"rollcall count\0" + counted, "sha256")).digest()


async def digests(service: Services, table: str = "login_buckets") -> set[object]:
    return {row[0] for row in await fetch_values(service.engine, f"SELECT digest FROM {table}")}


@pytest.mark.parametrize("secret", [b"", SECRET], ids=["key of the database", "and of the settings"])
async def test_failed_login_is_counted_under_a_digest_with_both_keys(database: str, secret: bytes) -> None:
    secrets = SecretsSettings(key=SecretStr(b64encode(secret).decode()) if secret else None)
    async with serving(settings_for_tests(secrets=secrets), database) as running, running.client() as client:
        api, service = Api(client, running.service), running.service
        assert await guess(api, "nobody", count=2) == [401, 401]
        expected = stored(await key_of(service), secret, b"stranger\0nobody")
        found = await fetch_values(service.engine, "SELECT digest, failures FROM login_buckets")
        assert found == [(expected, 2)]


async def test_request_for_a_mail_is_counted_under_keyed_digests(api: Api, service: Services) -> None:
    assert (await api.post("/v1/recoveries", {"login_id": "nobody"})).status_code == 202
    key, secret = await key_of(service), service.settings.secrets.keys[0]
    counted = (b"network\x00127.0.0.1/32", b"network\x00127.0.0.0/24", b"name\0nobody")
    expected = {stored(key, secret, each) for each in counted}
    assert await digests(service, "mail_counts") == expected


async def test_log_in_without_a_key_is_counted_and_the_next_purge_makes_one(
    api: Api, service: Services
) -> None:
    """As after the restore of a dump that left the key out."""
    await execute(service.engine, "DELETE FROM throttle_keys")
    assert await guess(api, "nobody") == [401]
    secret = service.settings.secrets.keys[0]
    assert await digests(service) == {stored(b"", secret, b"stranger\0nobody")}
    for _ in range(2):
        await purge_expired(service.background_database, service.policies.retention)
    key = await key_of(service)
    assert len(key) == 32
    assert await guess(api, "nobody") == [401]
    assert stored(key, secret, b"stranger\0nobody") in await digests(service)
