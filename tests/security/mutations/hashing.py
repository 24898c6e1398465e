"""Hashing: cost, queue and memory."""

from tests.security.mutations.mutation import FAULTS, FLOWS, LOGIN, Mutation

MUTATIONS = (
    Mutation(
        "A cancelled request leaves its hashing thread taken, and the queue",
        "service/security/hashing/pool.py",
        "await asyncio.wrap_future(future)",
        "await asyncio.shield(asyncio.wrap_future(future))",
        f"{FLOWS}/test_admission.py"
        "::test_disconnect_while_hashing_keeps_the_thread_and_while_queued_leaves_the_queue",
    ),
    Mutation(
        "A flood from one network leaves room for others",
        "service/security/hashing/limiter.py",
        "displaced = self._queue.displace(flow)",
        "displaced = self._queue.displace(flow) if False else None",
        f"{FLOWS}/test_admission.py::test_login_during_flood_from_another_network_succeeds",
    ),
    Mutation(
        "A flood from a provider's network leaves room for others",
        "service/domain/events.py",
        "return self.networks[-1].name, self.networks[0].name",
        "return self.networks[0].name, self.networks[0].name",
        f"{FLOWS}/test_admission.py::test_login_during_flood_from_many_networks_of_one_provider_succeeds",
    ),
    Mutation(
        "The work around hashes is let in a few at a time",
        "service/security/hashing/hasher.py",
        "_PERMITS_PER_WORKER = 3 ",
        "_PERMITS_PER_WORKER = 1000 ",
        f"{FLOWS}/test_admission.py::test_login_without_free_permit_waits_and_other_requests_do_not",
    ),
    Mutation(
        "Cheap argon2 parameters do not start",
        "settings/passwords.py",
        "any(self.memory_kib >= memory and self.iterations >= least for memory, least in OWASP_MINIMUMS)",
        "bool(OWASP_MINIMUMS)",
        "tests/settings/test_sections.py",
    ),
    Mutation(
        "A hash that cannot be renewed does not fail the login",
        LOGIN,
        "    except Exception as error:  # noqa: BLE001 - the login has succeeded\n",
        "    except ZeroDivisionError as error:\n",
        f"{FLOWS}/test_login.py::test_login_succeeds_if_the_rehash_fails",
    ),
    Mutation(
        "No more passwords wait to be hashed than there is room for",
        "service/security/hashing/limiter.py",
        "        self.max_queue = max_queue\n",
        "        self.max_queue = 10**9\n",
        f"{FLOWS}/test_admission.py::test_disconnect_repeatedly_exceeds_neither_threads_nor_queue",
    ),
    Mutation(
        "A hash without memory is refused, and fails nothing",
        "service/security/hashing/hasher.py",
        "        except MemoryError:\n",
        "        except ZeroDivisionError:\n",
        f"{FAULTS}/test_processes.py"
        "::test_log_in_without_memory_for_a_hash_gets_503_and_other_requests_succeed",
    ),
    Mutation(
        "A password in several forms costs the same for every hash",
        "service/security/hashing/scheme.py",
        "for stored, form in others if form is not None)",
        "for stored, form in others if form and stored)",
        "tests/security/test_scheme.py::test_verify_forms_without_match_does_the_same_work_for_every_hash",
    ),
    Mutation(
        "A compatible form matches imported hashes only",
        "service/security/hashing/scheme.py",
        "(password_hash if is_imported else None, nfkc)",
        "(password_hash, nfkc)",
        "tests/security/test_scheme.py::test_verify_forms_own_hash_does_not_match_the_compatible_form",
    ),
    Mutation(
        "An attempt that was verified in part is not refunded",
        "service/security/hashing/scheme.py",
        "        with suppress(MemoryError):  # one form was",
        "        with nullcontext():  # one form was",
        "tests/security/test_scheme.py::test_verify_forms_without_memory_for_another_form_returns_false",
    ),
    Mutation(
        "A NUL does not end a password",
        "service/domain/passwords.py",
        " or _NEVER_HASHED.search(raw)",
        "",
        "tests/domain/test_passwords.py::test_typed_password_of_an_impossible_text_has_no_form",
    ),
)
