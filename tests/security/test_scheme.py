import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import bcrypt
import pytest
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import verify_secret
from structlog.testing import capture_logs

from service.security.hashing import imported_hashes
from service.security.hashing.scheme import HashingScheme

PASSWORD = "green ladders sing at n\u00f6\u00f6n"


def make_scheme(*, memory_kib: int = 64, iterations: int = 2, parallelism: int = 1) -> HashingScheme:
    return HashingScheme(memory_kib=memory_kib, iterations=iterations, parallelism=parallelism)


@pytest.fixture
def scheme() -> HashingScheme:
    return make_scheme()


class Work:
    """Records the memory of each computed verification; on request, sets its time."""

    def __init__(self) -> None:
        self.computed_kib: list[int] = []
        self.seconds_of: dict[int, float] = {}
        self.now = 0.0

    def verify_secret(self, encoded: bytes, *rest: Any) -> bool:
        memory_kib = int(encoded.partition(b"m=")[2].partition(b",")[0])
        self.computed_kib.append(memory_kib)
        self.now += self.seconds_of.get(memory_kib, 0.0)
        return verify_secret(encoded, *rest)

    def set_seconds(self, monkeypatch: pytest.MonkeyPatch, seconds_of: dict[int, float]) -> None:
        self.seconds_of = seconds_of
        monkeypatch.setattr(time, "thread_time", lambda: self.now)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr(imported_hashes, "verify_secret", work.verify_secret)
    return work


def bcrypt_hash(password: str = PASSWORD) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def old_hash(password: str = PASSWORD, memory_kib: int = 8) -> str:
    return argon2.PasswordHasher(memory_cost=memory_kib, time_cost=1, parallelism=1).hash(password)


def test_hash_writes_phc_with_parameters_and_sizes(scheme: HashingScheme) -> None:
    _, kind, version, parameters, salt, tag = scheme.hash(PASSWORD).split("$")
    assert (kind, version, parameters) == ("argon2id", "v=19", "m=64,t=2,p=1")
    assert (len(salt), len(tag)) == (22, 43)


def test_hash_twice_uses_a_fresh_salt(scheme: HashingScheme) -> None:
    first, second = (scheme.hash(PASSWORD).split("$") for _ in range(2))
    assert first[4] != second[4]
    assert first[5] != second[5]


def test_hash_is_importable(scheme: HashingScheme) -> None:
    assert imported_hashes.check_importable(scheme.hash(PASSWORD)) is None


def test_verify_returns_true_for_the_same_password_only(scheme: HashingScheme) -> None:
    password_hash = scheme.hash(PASSWORD)
    assert scheme.verify(password_hash, PASSWORD)
    for other in (PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], ""):
        assert not scheme.verify(password_hash, other)


def test_verify_long_password_compares_all_of_it(scheme: HashingScheme) -> None:
    password_hash = scheme.hash("x" * 1023 + "y")
    assert scheme.verify(password_hash, "x" * 1023 + "y")
    assert not scheme.verify(password_hash, "x" * 1024)


@pytest.mark.parametrize("password_hash", [bcrypt_hash(), old_hash()], ids=["bcrypt", "cheaper argon2"])
def test_verify_other_format_or_parameters_matches_its_password_only(
    scheme: HashingScheme, password_hash: str
) -> None:
    assert scheme.verify(password_hash, PASSWORD)
    assert not scheme.verify(password_hash, PASSWORD + "!")


def test_verify_wrong_password_computes_one_hash(scheme: HashingScheme, work: Work) -> None:
    assert not scheme.verify(scheme.hash(PASSWORD), "wrong")
    assert work.computed_kib == [64]


def test_verify_without_hash_computes_one_hash(scheme: HashingScheme, work: Work) -> None:
    assert not scheme.verify(None, PASSWORD)
    assert work.computed_kib == [64]


def test_verify_without_password_computes_one_hash(scheme: HashingScheme, work: Work) -> None:
    assert not scheme.verify(scheme.hash(PASSWORD), None)
    assert not scheme.verify(None, None)
    assert work.computed_kib == [64, 64]


@pytest.mark.parametrize(
    "password_hash",
    [
        "",
        "!unusable",
        "$argon2id$v=19$m=64,t=2,p=1$",
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$AAAA",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    ],
)
def test_verify_unsupported_hash_computes_one_hash_and_logs_the_reason_only(
    scheme: HashingScheme, work: Work, password_hash: str
) -> None:
    with capture_logs() as entries:
        assert not scheme.verify(password_hash, PASSWORD)
    assert work.computed_kib == [64]
    (entry,) = entries
    assert (entry.pop("event"), entry.pop("log_level")) == ("stored_hash_unsupported", "warning")
    assert list(entry) == ["reason"]
    assert PASSWORD not in entry["reason"]
    assert not password_hash or password_hash not in entry["reason"]


def test_verify_supported_hash_logs_nothing(scheme: HashingScheme) -> None:
    with capture_logs() as entries:
        scheme.verify(scheme.hash(PASSWORD), PASSWORD)
    assert entries == []


def test_verify_cheaper_hash_with_wrong_password_is_padded_to_the_baseline(
    scheme: HashingScheme, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.set_seconds(monkeypatch, {8: 0.25, 64: 1.0})
    scheme.verify(None, PASSWORD)
    assert not scheme.verify(old_hash(), "wrong")
    assert work.computed_kib == [64, 8, 48]


def test_verify_cheaper_hash_with_right_password_is_not_padded(scheme: HashingScheme, work: Work) -> None:
    assert scheme.verify(old_hash(), PASSWORD)
    assert work.computed_kib == [8]


def test_verify_costlier_hash_with_wrong_password_is_not_padded(
    scheme: HashingScheme, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.set_seconds(monkeypatch, {64: 64.0, 512: 512.0})
    scheme.verify(None, PASSWORD)
    assert not scheme.verify(old_hash(memory_kib=512), "wrong")
    assert work.computed_kib == [64, 512]


def test_verify_cheaper_hash_first_measures_the_baseline(scheme: HashingScheme, work: Work) -> None:
    assert not scheme.verify(old_hash(), "wrong")
    assert work.computed_kib[:2] == [8, 64]


@pytest.mark.parametrize("hashed", ["normal", "typed", "nfkc"])
@pytest.mark.parametrize("make_hash", [bcrypt_hash, old_hash])
def test_verify_forms_imported_hash_matches_any_form(
    scheme: HashingScheme, make_hash: Callable[[str], str], hashed: str
) -> None:
    assert scheme.verify_forms(make_hash(hashed), "normal", "typed", "nfkc")
    assert not scheme.verify_forms(make_hash("another"), "normal", "typed", "nfkc")


def test_verify_forms_own_hash_does_not_match_the_compatible_form(scheme: HashingScheme) -> None:
    assert scheme.verify_forms(scheme.hash("typed"), "normal", "typed", "nfkc")
    assert not scheme.verify_forms(scheme.hash("nfkc"), "normal", "typed", "nfkc")


@pytest.mark.parametrize("forms", [("a",), ("a", "b"), ("a", None, "c"), ("a", "b", "c")])
def test_verify_forms_without_match_does_the_same_work_for_every_hash(
    scheme: HashingScheme, work: Work, monkeypatch: pytest.MonkeyPatch, forms: tuple[str, ...]
) -> None:
    """The work depends on the number of forms, which the client chooses, and on nothing else."""
    work.set_seconds(monkeypatch, {8: 8.0, 56: 56.0, 64: 64.0})
    scheme.verify(None, PASSWORD)
    seconds = {}
    stored = {"own": scheme.hash("x"), "imported": old_hash("x"), "none": None, "unsupported": "secret"}
    for kind, password_hash in stored.items():
        started_at = work.now
        assert not scheme.verify_forms(password_hash, *forms)
        seconds[kind] = work.now - started_at
    assert seconds == dict.fromkeys(stored, 64.0 * sum(form is not None for form in forms))


def test_verify_forms_stops_at_the_form_that_matches(scheme: HashingScheme, work: Work) -> None:
    own = scheme.hash("a")
    assert scheme.verify_forms(own, "a", "b", "c")
    assert work.computed_kib == [64]


def test_verify_forms_without_memory_for_another_form_returns_false(
    scheme: HashingScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would refund an attempt that was verified in part."""
    exhaust_memory(monkeypatch, after=1)
    assert not scheme.verify_forms(bcrypt_hash(), "a", "b")
    exhaust_memory(monkeypatch, after=1)
    assert not scheme.verify_forms(None, "a", "b")


def test_verify_hashes_of_large_memory_runs_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme, large = make_scheme(), old_hash(memory_kib=128)
    started, may_finish = threading.Semaphore(0), threading.Event()

    def verify_large_slowly(encoded: bytes, *rest: Any) -> bool:
        if b"m=128," in encoded:
            started.release()
            assert may_finish.wait(30)
        return verify_secret(encoded, *rest)

    monkeypatch.setattr(imported_hashes, "verify_secret", verify_large_slowly)
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(scheme.verify, large, PASSWORD) for _ in range(2)]
        assert started.acquire(timeout=30)
        assert threads.submit(scheme.verify, old_hash(), PASSWORD).result(30)
        assert not started.acquire(timeout=0.05)
        may_finish.set()
        assert [future.result(30) for future in running] == [True, True]


def test_needs_rehash_is_false_for_present_parameters_only(scheme: HashingScheme) -> None:
    assert not scheme.needs_rehash(scheme.hash(PASSWORD))
    for other in (old_hash(), bcrypt_hash(), "", "argon2" + scheme.hash(PASSWORD)):
        assert scheme.needs_rehash(other)


@pytest.mark.parametrize("change", [{"memory_kib": 65}, {"iterations": 3}, {"parallelism": 2}])
def test_needs_rehash_after_a_changed_parameter_is_true(
    scheme: HashingScheme, change: dict[str, int]
) -> None:
    changed, password_hash = make_scheme(**change), scheme.hash(PASSWORD)
    assert changed.needs_rehash(password_hash)
    assert changed.verify(password_hash, PASSWORD)


@pytest.mark.parametrize(
    "parameters",
    [
        {"memory_kib": 7, "iterations": 1, "parallelism": 1},
        {"memory_kib": 256 * 1024 + 1, "iterations": 1, "parallelism": 1},
        {"memory_kib": 64, "iterations": 11, "parallelism": 1},
        {"memory_kib": 64, "iterations": 0, "parallelism": 1},
        {"memory_kib": 64, "iterations": 1, "parallelism": 17},
    ],
)
def test_create_scheme_with_parameters_out_of_bounds_raises_value_error(parameters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"hash"):
        make_scheme(**parameters)


def exhaust_memory(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """Fail every hash for lack of memory, and every verification after the given number."""
    count = itertools.count()

    def fail_verification(*arguments: Any) -> bool:
        if next(count) >= after:
            raise VerificationError("Memory allocation error")
        return verify_secret(*arguments)

    def fail_hash(*_: object, **__: object) -> bytes:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(imported_hashes, "verify_secret", fail_verification)
    monkeypatch.setattr(argon2.PasswordHasher, "hash", fail_hash)


def test_hash_and_verify_without_memory_raise_memory_error(
    scheme: HashingScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source: OWASP ASVS 5.0 15.2.2."""
    password_hash = scheme.hash(PASSWORD)
    exhaust_memory(monkeypatch)
    for stored in (password_hash, None):
        with pytest.raises(MemoryError):
            scheme.verify(stored, PASSWORD)
    with pytest.raises(MemoryError):
        scheme.hash(PASSWORD)


def test_verify_cheaper_hash_without_memory_for_padding_returns_false(
    scheme: HashingScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would refund an attempt that was verified."""
    cheaper = old_hash()
    exhaust_memory(monkeypatch, after=1)
    assert not scheme.verify(cheaper, PASSWORD + "!")
