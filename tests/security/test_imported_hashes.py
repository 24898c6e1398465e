"""Hashes published or written by other software, and hashes that must not be imported."""

import hashlib
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
from argon2.low_level import Type, hash_secret

from service.security.hashing import imported_hashes

LETMEIN = "l\u00e8tmein"

ROOT = Path(__file__).parents[2]
PUBLISHED = {
    "django pbkdf2_sha256": (
        LETMEIN,
        "pbkdf2_sha256$30000$seasalt$VrX+V8drCGo68wlvy6rfu8i1d1pfkdeXA4LJkRGJodY=",
    ),
    "django scrypt": (
        LETMEIN,
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
    ),
    "django argon2": ("secret", "argon2$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YC9+jJCrQhs5R6db7LlN8Q"),
    "django bcrypt_sha256": (
        LETMEIN,
        "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC",
    ),
    "passlib pbkdf2-sha256": (
        "password",
        "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44",
    ),
    "passlib pbkdf2-sha512": (
        "insecure_secret",
        "$pbkdf2-sha512$310000$c8p78n7pUMln0jzvd4aK4Q$"
        "JNRBzwAo0ek5qKn50cFzzvE9RXV88h1wJn5KGiHrD0YKtZaR/nCb2CJPOsKaPK0hjf.9yHxzQGZziziccp6Yng",
    ),
    "passlib scrypt": (
        "password",
        "$scrypt$ln=8,r=8,p=1$WKs1xljLudd6z9kbY0wpJQ$yCR4iDZYDKv+iEJj6yHY0lv/epnfB6f/w1EbXrsJOuQ",
    ),
    "argon2 reference, version 16": (
        "password",
        "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
    ),
    "openwall bcrypt": ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    "openwall bcrypt, php prefix": ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
}


@pytest.mark.parametrize(("password", "password_hash"), PUBLISHED.values(), ids=PUBLISHED)
def test_matches_of_published_hash_is_true_for_its_password_only(password: str, password_hash: str) -> None:
    stored = imported_hashes.read(password_hash)
    assert stored.matches(password.encode())
    assert not stored.matches(password.encode() + b"z")


@pytest.mark.parametrize(("password", "password_hash"), PUBLISHED.values(), ids=PUBLISHED)
def test_matches_of_published_hash_with_another_tag_is_false(password: str, password_hash: str) -> None:
    other = "A" if password_hash[-10] != "A" else "B"
    changed = password_hash[:-10] + other + password_hash[-9:]
    assert not imported_hashes.read(changed).matches(password.encode())


@pytest.mark.parametrize("kind", [Type.ID, Type.I, Type.D])
@pytest.mark.parametrize("prefix", ["", "argon2"])
def test_matches_of_each_argon2_variant(kind: Type, prefix: str) -> None:
    encoded = hash_secret(b"pw", b"saltsalt", 2, 64, 2, 16, kind).decode()
    stored = imported_hashes.read(prefix + encoded)
    assert stored.matches(b"pw")
    assert not stored.matches(b"pW")
    assert (stored.memory_kib, stored.threads) == (64, 2)


@pytest.mark.parametrize("prefix", ["", "bcrypt$"])
def test_matches_of_bcrypt_compares_72_bytes(prefix: str) -> None:
    long = b"\xc3\xa9" * 50
    stored = imported_hashes.read(prefix + bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode())
    assert stored.matches(long)
    assert stored.matches(long[:72])
    assert not stored.matches(long[:71])


def test_matches_of_django_bcrypt_sha256_compares_all_bytes() -> None:
    long = b"a" * 100
    encoded = bcrypt.hashpw(hashlib.sha256(long).hexdigest().encode(), bcrypt.gensalt(4)).decode()
    stored = imported_hashes.read("bcrypt_sha256$" + encoded)
    assert stored.matches(long)
    assert not stored.matches(long[:72])


def test_read_pbkdf2_in_phc_form_accepts_named_parameters() -> None:
    modular = PUBLISHED["passlib pbkdf2-sha256"][1]
    phc = modular.replace("$6400$", "$i=6400,l=32$").replace(".", "+")
    assert imported_hashes.read(phc).matches(b"password")


@pytest.mark.parametrize("name", ["passlib pbkdf2-sha512", "passlib pbkdf2-sha256", "passlib scrypt"])
def test_read_with_standard_base64_and_padding_matches(name: str) -> None:
    password, modular = PUBLISHED[name]
    head, salt, digest = modular.replace(".", "+").rsplit("$", 2)
    padded = "$".join([head, *(part + "=" * (-len(part) % 4) for part in (salt, digest))])
    assert padded.endswith("=")
    assert imported_hashes.read(padded).matches(password.encode())
    assert not imported_hashes.read(padded).matches(password.encode() + b"z")


@pytest.mark.parametrize(
    ("password_hash", "reason"),
    [
        (f"$pbkdf2-sha256$1000$c2FsdHNh${'A' * 43}", "its salt has 6 bytes, not 8 to 128."),
        (f"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ${'A' * 6}", "its digest has 4 bytes, not 16 to 64."),
        (f"pbkdf2_sha256$1000$s${'A' * 100}", "its digest has 75 bytes, not 16 to 64."),
    ],
)
def test_check_importable_of_a_wrong_size_names_the_sizes(password_hash: str, reason: str) -> None:
    assert imported_hashes.check_importable(password_hash) == f"The hash is malformed: {reason}"


def test_matches_of_scrypt_with_large_blocks_has_enough_memory() -> None:
    password_hash = "$scrypt$ln=4,r=8192,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"
    assert not imported_hashes.read(password_hash).matches(b"password")


WITHOUT_MEMORY = """
import resource, sys
from service.security.hashing import imported_hashes
stored = imported_hashes.read(sys.argv[1])
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 8 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    stored.matches(b"password")
except MemoryError:
    print("no memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of the process from /proc")
@pytest.mark.parametrize(
    "password_hash",
    [
        "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        "$scrypt$ln=16,r=8,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
    ],
)
def test_matches_without_memory_raises_memory_error(password_hash: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, password_hash],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "no memory\n"


SALT, TAG = "c29tZXNhbHQ", "/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"

AFFORDABLE = [
    f"$argon2id$v=19$m=262144,t=10,p=16${SALT}${TAG}",
    "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    f"$pbkdf2-sha256$5000000${SALT}${TAG}",
    f"$pbkdf2-sha256$1${SALT}${TAG}",
    f"pbkdf2_sha256$5000000$salt${TAG}=",
    f"$scrypt$ln=18,r=8,p=1${SALT}${TAG}",
    f"scrypt$131072$salt$8$2${TAG}=",
]

TOO_COSTLY = [
    f"$argon2id$v=19$m=262145,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=64,t=11,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=256,t=1,p=17${SALT}${TAG}",
    f"$argon2id$v=19$m=4294967295,t=4294967295,p=1${SALT}${TAG}",
    "$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "bcrypt$$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    f"$pbkdf2-sha256$5000001${SALT}${TAG}",
    f"$pbkdf2-sha256$2500001${SALT}${'AAAA' * 11}",
    f"pbkdf2_sha256$5000001$salt${TAG}=",
    f"$scrypt$ln=18,r=8,p=2${SALT}${TAG}",
    f"$scrypt$ln=99,r=8,p=1${SALT}${TAG}",
    f"scrypt$262144$salt$8$2${TAG}=",
    f"scrypt$2$salt$9999999999$9999999999${TAG}=",
]

MALFORMED = [
    f"$scrypt$ln=16,r=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=7,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=64,t=1,p=1$c2FsdA${TAG}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}$AAAA",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${TAG[:-1]}Z",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}AA${TAG}",
    "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    f"scrypt$16383$salt$8$1${TAG}=",
    f"scrypt$1$salt$8$1${TAG}=",
    f"$scrypt$ln=4,r=8,p=1${SALT}$AAAA",
]

UNKNOWN = [
    "",
    "secret",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "$1$abcdefgh$irWbblnpmw.5z7wgBnprh0",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
    "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$05$CCCCCCCCCCCCCCCCCCCCCCE5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeX",
    "!bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "pbkdf2_sha1$10000$wz5B6WkasRoF$atJmJ1o+XfJxKq1+Nu1f1i57Z5I=",
    f"$pbkdf2-sha256$0${SALT}${TAG}",
    f"$argon2id$v=19$m=064,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=\u0666\u0664,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=18$m=64,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=64,t=1,p=1,data=AAAA${SALT}${TAG}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${TAG}\n",
    f" $argon2id$v=19$m=64,t=1,p=1${SALT}${TAG}",
    f"$argon2id$v=19$m=64,t=1,p=1${SALT}${'AAAA' * 200}",
    f"pbkdf2_sha256$1000$sa lt${TAG}=",
    "$argon2id$" * 100_000,
]


@pytest.mark.parametrize("password_hash", [*AFFORDABLE, *(entry for _, entry in PUBLISHED.values())])
def test_check_importable_within_the_bounds_returns_none(password_hash: str) -> None:
    assert imported_hashes.check_importable(password_hash) is None


@pytest.mark.parametrize("password_hash", TOO_COSTLY)
def test_check_importable_beyond_the_bounds_names_the_cost(password_hash: str) -> None:
    reason = imported_hashes.check_importable(password_hash)
    assert reason is not None
    assert "cost" in reason


@pytest.mark.parametrize("password_hash", MALFORMED)
def test_check_importable_of_malformed_hash_says_so(password_hash: str) -> None:
    reason = imported_hashes.check_importable(password_hash)
    assert reason is not None
    assert "malformed" in reason


@pytest.mark.parametrize("password_hash", UNKNOWN)
def test_check_importable_of_unknown_format_does_not_repeat_it(password_hash: str) -> None:
    reason = imported_hashes.check_importable(password_hash)
    assert reason is not None
    assert "known form" in reason
    assert not password_hash or password_hash not in reason
