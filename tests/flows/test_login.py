"""Login: uniform failures, hashes and devices."""

import asyncio
import hashlib
import unicodedata
from base64 import b64encode
from collections.abc import Callable

import argon2
import bcrypt
import httpx
import pytest
from argon2.low_level import Type, verify_secret
from structlog.testing import capture_logs

from service.domain.users import UserRole, UserState
from service.security.hashing import imported_hashes
from service.security.hashing.scheme import HashingScheme
from service.services import Services
from tests.flows.conftest import At
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api
from tests.support.databases import execute, fetch_values

CHEAP = argon2.PasswordHasher(1, 8, 1, 32, 16)
_OWN_HEADERS = {"date", "x-request-id"}


def without_request_id(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in _OWN_HEADERS}
    return answer.status_code, headers, answer.content.replace(answer.headers["X-Request-Id"].encode(), b"")


async def fail_to_log_in(api: Api, service: Services, login_id: str, password: str) -> tuple[object, int]:
    """Fail to log in; return the response and the number of hashes it took."""
    before = service.hasher.stats().done_total
    answer = await api.log_in(login_id, password)
    return without_request_id(answer), service.hasher.stats().done_total - before


async def test_failed_login_has_the_same_response_and_work_for_every_reason(
    api: Api, service: Services, at: At
) -> None:
    await api.account("known")
    await api.account("disabled", state=UserState.DISABLED)
    await api.account("bare", password=None)
    attempts = {
        "unknown": ("nobody", PASSWORD),
        "wrong": ("known", OTHER_PASSWORD),
        "disabled": ("disabled", PASSWORD),
        "no password": ("bare", PASSWORD),
        "impossible login id": ("Ж \u202e/../", PASSWORD),
        "empty login id": ("", PASSWORD),
        "reserved login id": ("me", PASSWORD),
        "a password that cannot be one": ("known", "\u0001" * 20),
        "a password beyond all bounds": ("known", "x" * 1025),
        "an empty password": ("known", ""),
    }
    outcomes = {
        why: await fail_to_log_in(at(f"192.0.2.{place}"), service, *attempt)
        for place, (why, attempt) in enumerate(attempts.items())
    }
    answer, work = outcomes["wrong"]
    assert work == 1
    assert isinstance(answer, tuple)
    assert answer[0] == 401
    assert b"invalid_credentials" in answer[2]
    assert outcomes == dict.fromkeys(attempts, (answer, work))
    assert (await api.log_in("known")).status_code == 201


async def test_login_without_usable_hash_verifies_with_current_parameters(
    api: Api, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a usable hash, a full verification is done with our own parameters."""
    verified: list[tuple[str | None, str | None]] = []
    computed: list[bytes] = []
    verify = HashingScheme.verify

    def record_verify(self: HashingScheme, password_hash: str | None, password: str | None) -> bool:
        verified.append((password_hash, password))
        return verify(self, password_hash, password)

    def record_parameters(encoded: bytes, password: bytes, kind: Type) -> bool:
        computed.append(encoded.rsplit(b"$", 2)[0])
        return verify_secret(encoded, password, kind)

    monkeypatch.setattr(HashingScheme, "verify", record_verify)
    monkeypatch.setattr(imported_hashes, "verify_secret", record_parameters)
    await api.account("off", state=UserState.DISABLED)
    for login_id in ("nobody", "off", "*"):
        await api.log_in(login_id)
    assert verified == [(None, PASSWORD)] * 3
    assert service.settings.passwords.memory_kib == 8
    assert computed == [b"$argon2id$v=19$m=8,t=1,p=1"] * 3


@pytest.mark.parametrize(
    ("stored", "sent", "is_same"),
    [
        ("caf\u00e9 au lait and toast", unicodedata.normalize("NFD", "caf\u00e9 au lait and toast"), True),
        ("spaced\u00a0out\u3000words here", "spaced out words here", True),
        ("  mauve otter sings at dawn ", "mauve otter sings at dawn", False),
        ("Mauve otter sings at dawn", "mauve otter sings at dawn", False),
        ("x" * 20 + "z" * 1003 + "a", "x" * 20 + "z" * 1003 + "b", False),
        ("🦦🌅 🎶🎹 \"'; otter 🦦🌅", "🦦🌅 🎶🎹 \"'; otter 🦦🌅", True),
    ],
)
async def test_login_with_other_spelling_succeeds_only_for_equal_normal_form(
    api: Api, stored: str, sent: str, is_same: bool
) -> None:
    admin = api.by(await api.admin())
    created = await admin.post("/v1/users", {"login_id": "ada", "name": "A", "password": stored})
    assert created.status_code == 201, created.text
    assert (await api.log_in("ada", stored)).status_code == 201
    assert (await api.log_in("ada", sent)).status_code == (201 if is_same else 401)


async def test_login_with_other_spelling_of_login_id_ignores_ascii_case_only(
    api: Api,
) -> None:
    await api.account("kelvin")
    assert (await api.log_in("KELVIN")).status_code == 201
    for homoglyph in ("\u212aelvin", "kelvın", " kelvin", "kelvin\u200d", "ｋelvin"):
        assert (await api.log_in(homoglyph)).status_code == 401, homoglyph


def pbkdf2_as_django(password: str) -> str:
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"saltsaltsalt", 1000)
    return f"pbkdf2_sha256$1000$saltsaltsalt${b64encode(digest).decode()}"


def scrypt_as_phc(password: str) -> str:
    salt = b"saltsaltsaltsalt"
    digest = hashlib.scrypt(password.encode(), salt=salt, n=16, r=8, p=1, dklen=32)
    return "$scrypt$ln=4,r=8,p=1$" + "$".join(b64encode(part).decode().rstrip("=") for part in (salt, digest))


IMPORTED_HASHES = {
    "argon2id": argon2.PasswordHasher(2, 16, 1).hash(PASSWORD),
    "argon2i": argon2.PasswordHasher(1, 16, 1, type=argon2.Type.I).hash(PASSWORD),
    "bcrypt": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "pbkdf2": pbkdf2_as_django(PASSWORD),
    "scrypt": scrypt_as_phc(PASSWORD),
}


@pytest.mark.parametrize("kind", IMPORTED_HASHES)
async def test_login_with_imported_hash_rehashes_it(api: Api, service: Services, kind: str) -> None:
    admin = api.by(await api.admin())
    imported = {"login_id": "ada", "name": "A", "password_hash": IMPORTED_HASHES[kind]}
    assert (await admin.post("/v1/users", imported)).status_code == 201
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 401
    assert await stored_hash(service) == IMPORTED_HASHES[kind]
    assert (await api.log_in("ada")).status_code == 201
    ours = await stored_hash(service)
    assert ours.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert CHEAP.verify(ours, PASSWORD)
    assert (await api.log_in("ada")).status_code == 201
    assert await stored_hash(service) == ours


def bcrypt_of(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@pytest.mark.parametrize(
    ("at_source", "typed", "is_same"),
    [
        ("mot\u00a0de passe", "mot\u00a0de passe", True),
        ("\u30d1\u30b9\u3000\u30ef\u30fc\u30c9", "\u30d1\u30b9\u3000\u30ef\u30fc\u30c9", True),
        ("pa\u0308sswo\u0308rd", "pa\u0308sswo\u0308rd", True),
        ("p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd", True),
        ("tab\tinside", "tab\tinside", True),
        ("line\r\nfeed", "line\r\nfeed", True),
        ("fine", "\ufb01ne", True),  # hashed in NFKC, as Synapse does
        ("fi ne", "\ufb01\u3000ne", True),
        ("tab\tinside", "tab inside", False),
        ("mot\u00a0de passe", "mot de passe", False),
        ("nul\0inside", "nul", False),
        ("nul", "nul\0inside", False),
    ],
)
@pytest.mark.parametrize("hash_of", [bcrypt_of, pbkdf2_as_django])
async def test_login_with_imported_hash_of_another_form_succeeds_as_at_its_source(
    api: Api, hash_of: Callable[[str], str], at_source: str, typed: str, is_same: bool
) -> None:
    await api.account("ada", password=None)
    await execute(api.service.engine, "UPDATE users SET password_hash = :hash", hash=hash_of(at_source))
    assert (await api.log_in("ada", typed)).status_code == (201 if is_same else 401)
    if is_same:
        ours = await stored_hash(api.service)
        assert ours.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert CHEAP.verify(ours, unicodedata.normalize("NFC", typed).translate({0xA0: " ", 0x3000: " "}))
        assert (await api.log_in("ada", typed)).status_code == 201
        assert await stored_hash(api.service) == ours


async def test_login_with_imported_hash_of_our_parameters_matches_the_typed_form(api: Api) -> None:
    """Our parameters are those of other libraries too."""
    await api.account("ada", password=None)
    await execute(
        api.service.engine, "UPDATE users SET password_hash = :hash", hash=CHEAP.hash("mot\u00a0de passe")
    )
    assert (await api.log_in("ada", "mot\u00a0de passe")).status_code == 201
    assert (await api.log_in("ada", "mot de passe")).status_code == 401


async def test_change_password_accepts_the_imported_one_as_typed(api: Api) -> None:
    ada = await api.account("ada", password=None)
    await execute(api.service.engine, "UPDATE users SET password_hash = :hash", hash=bcrypt_of("tab\tinside"))
    change = {"current_password": "tab\tinside", "new_password": OTHER_PASSWORD}
    assert (await api.by(ada).put("/v1/users/me/password", change)).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201


async def stored_hash(service: Services, login_id: str = "ada") -> str:
    ((value,),) = await fetch_values(
        service.engine, "SELECT password_hash FROM users WHERE login_id = :login_id", login_id=login_id
    )
    return str(value)


async def test_login_succeeds_if_the_rehash_fails(api: Api, service: Services) -> None:
    await api.account("ada", password=None)
    await execute(service.engine, "UPDATE users SET password_hash = :hash", hash=IMPORTED_HASHES["bcrypt"])
    await execute(
        service.engine,
        "ALTER TABLE users ADD CONSTRAINT rehash_fails CHECK (password_hash NOT LIKE '$argon2id%')",
    )
    try:
        with capture_logs() as records:
            answer = await api.log_in("ada")
    finally:
        await execute(service.engine, "ALTER TABLE users DROP CONSTRAINT rehash_fails")
    (failed,) = [record for record in records if record["event"] == "rehash_failed"]
    assert (failed["log_level"], failed["constraint"]) == ("warning", "rehash_fails")
    assert answer.status_code == 201
    assert (await api.by(answer.json()["token"]).get("/v1/users/me")).status_code == 200
    assert await stored_hash(service) == IMPORTED_HASHES["bcrypt"]


@pytest.mark.parametrize(
    "expensive",
    [
        "$argon2id$v=19$m=1048576,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHM",
        "$argon2id$v=19$m=1024,t=11,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHM",
        "$2b$16$" + "a" * 21 + "u" + "a" * 30 + "u",
        "pbkdf2_sha256$5000001$saltsaltsalt$" + "A" * 43 + "=",
        "plain text",
    ],
)
async def test_login_with_too_expensive_hash_fails_like_a_wrong_password(
    api: Api, service: Services, expensive: str
) -> None:
    admin = api.by(await api.admin())
    wanted = {"login_id": "bo", "name": "B", "password_hash": expensive}
    assert (await admin.post("/v1/users", wanted)).status_code == 422
    await api.account("ada", password=None)
    await execute(
        service.engine, "UPDATE users SET password_hash = :hash WHERE login_id = 'ada'", hash=expensive
    )
    answer, work = await fail_to_log_in(api, service, "ada", PASSWORD)
    assert isinstance(answer, tuple)
    assert (answer[0], work) == (401, 1)


async def test_stored_passwords_are_argon2id_with_unique_salts(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    for login_id in ("ada", "bo"):
        await admin.post(
            "/v1/users", {"login_id": login_id, "name": "A", "password": PASSWORD, "must_change": False}
        )
    hashes = [await stored_hash(service, login_id) for login_id in ("root", "ada", "bo")]
    parts = [value.split("$") for value in hashes]
    assert all(part[1:4] == ["argon2id", "v=19", "m=8,t=1,p=1"] for part in parts)
    assert {(len(part[4]), len(part[5])) for part in parts} == {(22, 43)}
    assert len({part[4] for part in parts}) == len({part[5] for part in parts}) == len(hashes)


async def test_login_from_known_device_keeps_its_token(api: Api, service: Services) -> None:
    await api.account("ada")
    first = (await api.log_in("ada")).json()["device_token"]
    again = await api.log_in("ada", device_token=first)
    assert again.json()["device_token"] == first
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(1,)]


async def test_login_with_device_token_of_another_user_creates_a_device(api: Api) -> None:
    await api.account("ada")
    await api.account("bo")
    device_of_ada = (await api.log_in("ada")).json()["device_token"]
    answer = await api.log_in("bo", device_token=device_of_ada)
    assert answer.status_code == 201
    assert answer.json()["device_token"] != device_of_ada


async def test_login_beyond_twenty_devices_deletes_the_oldest(api: Api, service: Services) -> None:
    await api.account("ada")
    for _ in range(22):
        await api.log_in("ada")
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(20,)]


async def test_login_tokens_are_not_stored(api: Api, service: Services) -> None:
    await api.account("ada")
    answers = [(await api.log_in("ada")).json() for _ in range(5)]
    tokens = {answer[name] for answer in answers for name in ("token", "device_token")}
    assert len(tokens) == 10
    rows = await fetch_values(
        service.engine, "SELECT s::text FROM sessions s UNION ALL SELECT d::text FROM devices d"
    )
    stored = "\n".join(str(row) for (row,) in rows)
    for token in tokens:
        for text in (token, token[4:]):
            assert text not in stored
            assert text.encode().hex() not in stored
        assert hashlib.sha256(token.encode()).hexdigest() in stored


async def test_concurrent_logins_with_imported_hash_all_succeed(api: Api, service: Services) -> None:
    await api.account("ada", password=None)
    await execute(service.engine, "UPDATE users SET password_hash = :hash", hash=IMPORTED_HASHES["bcrypt"])
    answers = await asyncio.gather(*(api.log_in("ada") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [201] * 5


async def test_login_with_old_password_succeeds(api: Api, service: Services) -> None:
    """Passwords do not expire. Source: NIST SP 800-63B-4 3.1.1.2."""
    await api.account("ada", role=UserRole.USER)
    await execute(
        service.engine, "UPDATE users SET created_at = now() - interval '400 days', updated_at = created_at"
    )
    assert (await api.log_in("ada")).status_code == 201
