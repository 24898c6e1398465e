"""Encryption, access tokens and signing keys."""

from tests.security.mutations.mutation import Mutation

_ACCESS_TOKENS = "service/usecases/access_tokens.py"
_ENCRYPTION = "service/security/encryption.py"
_KEY_TESTS = "tests/flows/test_signing_keys.py"
_SIGNING_KEYS = "service/usecases/signing_keys.py"
_TOKEN_TESTS = "tests/api/test_access_tokens.py"

MUTATIONS = (
    Mutation(
        "A stored secret is of use in its own row and column only",
        _ENCRYPTION,
        'return self.purpose.encode("ascii") + b"\\0" + self.row_id.bytes',
        'return b""',
        "tests/security/test_encryption.py::test_decrypt_a_ciphertext_that_was_moved_is_rejected",
    ),
    Mutation(
        "Private keys are encrypted in the database",
        _SIGNING_KEYS,
        "encrypted = cipher.encrypt(private_key, PRIVATE_KEYS.place_of(key_id))",
        "encrypted = private_key",
        f"{_TOKEN_TESTS}::test_private_keys_are_encrypted_in_the_database",
    ),
    Mutation(
        "Keys of encryption are not shown with the settings",
        "settings/values.py",
        'return "***"',
        "return value.get_secret_value()",
        "tests/settings/test_secrets.py::test_secrets_key_is_never_shown",
    ),
    Mutation(
        "An access token does not outlast the end of its session",
        _ACCESS_TOKENS,
        "expires_at = min(now + policy.ttl, session.expires_at, session.idle_expires_at)",
        "expires_at = now + policy.ttl",
        f"{_TOKEN_TESTS}::test_issue_token_just_before_its_session_ends_ends_with_it",
    ),
    Mutation(
        "Access tokens are for configured audiences only",
        _ACCESS_TOKENS,
        "if audience not in self.policy.audiences:",
        "if False:",
        f"{_TOKEN_TESTS}::test_issue_token_for_an_unknown_audience_is_rejected",
    ),
    Mutation(
        "Another kind of token is not taken for an access token",
        "service/security/signing.py",
        '{"typ": ACCESS_TOKEN_TYPE, "kid": key_id, "alg": algorithm.value}',
        '{"kid": key_id, "alg": algorithm.value}',
        "tests/security/test_signing.py::test_sign_with_a_new_key_is_verified_by_its_public_half_alone",
    ),
    Mutation(
        "One process at a time rotates the signing keys",
        "service/db/repositories/signing_keys.py",
        "await self._tx.fetch_one(_LOCK)",
        "return",
        f"{_KEY_TESTS}::test_rotation_by_several_processes_at_once_adds_one_key",
    ),
    Mutation(
        "A signing key is published before it signs",
        _SIGNING_KEYS,
        "delay=PUBLISHED_BEFORE if newest else timedelta(0)",
        "delay=timedelta(0)",
        f"{_KEY_TESTS}::test_change_of_the_algorithm_rotates_the_key",
    ),
    Mutation(
        "A signing key stays published until its last token has ended",
        _SIGNING_KEYS,
        "await keys.retire(delay=delay + PUBLISHED_AFTER)",
        "await keys.retire(delay=delay)",
        f"{_KEY_TESTS}::test_rotation_is_not_noticed_by_a_verifier_that_keeps_the_keys",
    ),
)
