"""Logging in, its throttle, and registration."""

from tests.security.mutations.mutation import (
    FAULTS,
    FLOWS,
    LOGIN,
    PASSWORDS,
    THROTTLE,
    THROTTLE_SQL,
    Mutation,
)

MUTATIONS = (
    Mutation(
        "A disabled user is rejected like a wrong password",
        LOGIN,
        "if self.credential is None or self.credential.user.state is UserState.DISABLED:",
        "if self.credential is None:",
        f"{FAULTS}/test_login_races.py::test_disable_during_logins_leaves_no_session"
        f" {FLOWS}/test_login.py::test_login_without_usable_hash_verifies_with_current_parameters",
    ),
    Mutation(
        "A login id without a user costs a verification",
        "service/security/hashing/scheme.py",
        "            self._verify_dummy()\n            return False",
        "            return False",
        "tests/security/test_scheme.py",
    ),
    Mutation(
        "Concurrent guesses cost as much as sequential ones",
        THROTTLE_SQL,
        "where=not_(or_(_is_waiting, _hour_is_full, _in_a_row_is_full)),",
        "where=not_(literal(False)),",
        f"{FLOWS}/test_throttle_races.py::test_concurrent_logins_verify_no_more_guesses_than_sequential_ones",
    ),
    Mutation(
        "Guesses beyond the limit of a network reveal nothing",
        THROTTLE,
        "    if is_within or not bucket.network_limited:\n",
        "    if is_within is not None:\n",
        f"{FLOWS}/test_network_throttle.py::test_concurrent_logins_to_many_users_stop_at_the_network_limit",
    ),
    Mutation(
        "A right guess beyond the limit of a network reveals nothing either",
        "service/usecases/login.py",
        "networks=client.context.networks if bucket.network_limited else ()",
        "networks=()",
        "tests/flows/test_network_throttle.py::test_login_at_network_limit_does_not_reveal_a_right_password",
    ),
    Mutation(
        "Unknown devices do not lock out the owner's device",
        "service/usecases/attempts.py",
        "    if recognition.device_id is not None:\n        return",
        "    if False:\n        return",
        "tests/flows/test_throttle_devices.py::test_failures_from_unknown_devices_do_not_lock_out_the_owner",
    ),
    Mutation(
        "Clients of the same network do not lock out the owner's device",
        THROTTLE,
        'return Bucket(digests.of("device", str(device_id)), user_id)',
        'return Bucket(digests.of("device", str(device_id)), user_id, network_limited=True)',
        f"{FLOWS}/test_network_throttle.py::test_failures_from_the_same_network_do_not_lock_out_a_known_device",
    ),
    Mutation(
        "A success clears its own bucket only",
        THROTTLE_SQL,
        "return delete(_Bucket).where(_of_bucket)",
        'return delete(_Bucket).where(_of_bucket | (_Bucket.digest != b""))',
        f"{FLOWS}/test_throttle_devices.py::test_login_clears_only_its_own_bucket",
    ),
    Mutation(
        "At most a hundred failures in a row",
        THROTTLE_SQL,
        "_in_a_row_is_full = _failures >= _most",
        "_in_a_row_is_full = _failures >= 1000 * _most",
        f"{FLOWS}/test_throttle.py"
        "::test_login_after_a_hundred_failures_in_a_row_stays_blocked_for_unknown_devices",
    ),
    Mutation(
        "A locked account opens again in time",
        THROTTLE_SQL,
        "_failures = func.greatest(_Bucket.failures - _forgiven, 0, type_=Integer)",
        "_failures = func.greatest(_Bucket.failures, 0 * _forgiven, type_=Integer)",
        f"{FLOWS}/test_throttle.py"
        "::test_login_after_a_hundred_failures_in_a_row_is_allowed_again_one_failure_after_the_other",
    ),
    Mutation(
        "What happens to a user clears no failures of unknown devices",
        THROTTLE,
        "user_id=None if bucket.is_unrecognised else bucket.user_id",
        "user_id=bucket.user_id",
        f"{FLOWS}/test_throttle.py"
        "::test_failures_for_a_login_id_are_kept_as_for_an_unknown_one_whatever_happens_to_its_user",
    ),
    Mutation(
        "A success from an unknown device clears no failures",
        "service/usecases/open_session.py",
        "clears_bucket=not bucket.is_unrecognised",
        "clears_bucket=True",
        "tests/flows/test_throttle.py::test_failures_for_a_login_id_are_kept_as_for_an_unknown_one_whatever_happens_to_its_user",
    ),
    Mutation(
        "Counts of login ids with and without a user are purged alike",
        "service/db/repositories/cleanup.py",
        "(LoginBucketRow.user_id.is_(None), LoginBucketRow.user_id.is_not(None))",
        "(LoginBucketRow.user_id.is_(None), LoginBucketRow.user_id.is_(None))",
        f"{FLOWS}/test_purge.py::test_purge_expired_deletes_what_has_expired_and_nothing_else",
    ),
    Mutation(
        "A password typed into the wrong field leaves no digest",
        LOGIN,
        "return bucket_for_impossible_login_id(digests, context.network)",
        "return bucket_for_unknown_device(digests, login_id, None)",
        f"{FLOWS}/test_throttle.py::test_login_id_that_cannot_be_one_is_counted_by_network_alone",
    ),
    Mutation(
        "Without the key of the database, nobody tests guesses at login ids that were tried",
        "service/db/repositories/throttle_keys.py",
        "func.coalesce(select(ThrottleKeyRow.key).scalar_subquery(), _no_key, type_=LargeBinary)",
        "func.coalesce(_no_key, _no_key, type_=LargeBinary)",
        f"{FLOWS}/test_throttle_keys.py::test_failed_login_is_counted_under_a_digest_with_both_keys"
        f" {FLOWS}/test_throttle_keys.py::test_request_for_a_mail_is_counted_under_keyed_digests",
    ),
    Mutation(
        "With a key of the settings, the database alone lets nobody test guesses at what was typed",
        "service/security/digests.py",
        "hmac.digest(self._key, ",
        'hmac.digest(b"", ',
        "tests/security/test_digests.py::test_digest_is_keyed_with_the_newest_key",
    ),
    Mutation(
        "A key that a restore left out is made again",
        "service/usecases/cleanup.py",
        "    await database.run(lambda tx: ThrottleKeyRepository(tx).ensure(), caller=OPERATOR)\n",
        "",
        f"{FLOWS}/test_throttle_keys.py::test_log_in_without_a_key_is_counted_and_the_next_purge_makes_one",
    ),
    Mutation(
        "Logins with an address are throttled alike with and without an account",
        LOGIN,
        'canonical = f"address {unverified_email}"',
        "canonical = None",
        f"{FLOWS}/test_login_codes.py"
        "::test_log_in_with_an_address_is_throttled_alike_with_and_without_a_user",
    ),
    Mutation(
        "A login by code changes no count of unknown devices",
        "service/usecases/open_session.py",
        "bucket = proven.bucket or bucket_of_device(parts.policies.digests, device.id, user.id)",
        "from service.usecases.throttle import bucket_for_unknown_device as unknown\n"
        "    other = unknown(parts.policies.digests, user.login_id, user.id)\n"
        "    bucket = proven.bucket or Bucket(other.digest, user.id)",
        f"{FLOWS}/test_login_codes.py::test_log_in_by_code_forgets_no_failures_of_unknown_devices",
    ),
    Mutation(
        "A right password is not refused for attempts in progress",
        LOGIN,
        "if refusal is None or refusal.has_attempts:",
        "if refusal is None:",
        f"{FAULTS}/test_concurrent_logins.py::test_log_in_concurrently_with_the_right_password_always_succeeds",
    ),
    Mutation(
        "A success leaves no failure behind",
        THROTTLE_SQL,
        "            failures=func.greatest(_Bucket.failures - 1, 0),\n",
        "            failures=func.greatest(_Bucket.failures, 0),\n",
        f"{FAULTS}/test_concurrent_logins.py::test_log_in_concurrently_with_the_right_password_always_succeeds",
    ),
    Mutation(
        "A login that waits for attempts in progress holds no permit",
        "service/usecases/login.py",
        "    async with parts.turns.wait(bucket) as turn:\n",
        "    async with parts.hasher.acquire(*flow), parts.turns.wait(bucket) as turn:\n",
        "tests/faults/test_concurrent_logins.py::test_log_in_while_others_wait_for_attempts_in_progress_succeeds",
    ),
    Mutation(
        "An attempt that was not verified is refunded",
        THROTTLE,
        "ThrottleRepository(tx).refund(bucket.digest)",
        "ThrottleRepository(tx).refund(b'')",
        f"{FAULTS}/test_processes.py"
        "::test_log_in_without_memory_for_a_hash_gets_503_and_other_requests_succeed",
    ),
    Mutation(
        "A changed current password is throttled",
        PASSWORDS,
        "        await reserve_attempt(tx, self.bucket, context=self.context, policies=self.policies)\n",
        "",
        f"{FLOWS}/test_throttle.py::test_change_password_after_repeated_failures_has_to_wait",
    ),
    Mutation(
        "Forwarded addresses count from trusted proxies only",
        "service/api/http/client_address.py",
        "if not trusted or (host and not is_within(host, trusted)):",
        "if False:",
        f"{FLOWS}/test_network_throttle.py::test_forwarded_address_from_untrusted_peer_is_ignored",
    ),
    Mutation(
        "An IPv6 client counts by its /64",
        "service/api/http/client_address.py",
        "6: ((64, 1), ",
        "6: ((128, 1), ",
        f"{FLOWS}/test_network_throttle.py::test_login_after_twenty_network_failures_in_a_minute_has_to_wait",
    ),
    Mutation(
        "A provider's network counts as a whole",
        THROTTLE_SQL,
        "in_minute <= policy.network_per_minute * shares[name]",
        "True or in_minute <= policy.network_per_minute * shares[name]",
        f"{FLOWS}/test_network_throttle.py"
        "::test_concurrent_logins_from_many_networks_stop_at_the_limit_of_the_one_around",
    ),
    Mutation(
        "IPv4 clients behind NAT64 are not one network",
        "service/api/http/client_address.py",
        "_translated(parsed) or parsed",
        "parsed or _translated(parsed)",
        "tests/api/test_client_address.py::test_network_of_an_address_of_nat64_is_that_of_the_ipv4_address",
    ),
    Mutation(
        "Open registration needs a password",
        "service/usecases/users.py",
        "if needs_password and request.password is None",
        "if False and request.password is None",
        f"{FLOWS}/test_registration.py::test_register_without_a_password_gets_422_and_is_not_counted",
    ),
    Mutation(
        "A network registers so many users an hour",
        "service/usecases/registration.py",
        "if wait is not None:",
        "if False:",
        f"{FLOWS}/test_registration.py"
        "::test_register_twenty_times_in_an_hour_gets_429_before_the_login_id_is_looked_for",
    ),
    Mutation(
        "Concurrent registrations are counted like sequential ones",
        "service/db/repositories/network_counts.py",
        "is_within = all(count <= most_per_hour * shares[network] for _, network, count in rows)",
        "is_within = all(shares[network] for _, network, _ in rows)",
        f"{FLOWS}/test_registration.py::test_register_concurrently_stops_at_the_limit",
    ),
)
