"""Login ids, names and ids."""

from tests.security.mutations.mutation import FAULTS, FLOWS, Mutation

MUTATIONS = (
    Mutation(
        "A login id has one form for all its spellings",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        "    login_id = raw\n",
        f"{FAULTS}/test_login_races.py::test_create_one_login_id_fifty_times_concurrently_creates_one_user",
    ),
    Mutation(
        "No other character is folded into a login id",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        '    login_id = __import__("unicodedata").normalize("NFKC", raw).lower().strip()\n',
        f"{FLOWS}/test_login.py::test_login_with_other_spelling_of_login_id_ignores_ascii_case_only",
    ),
    Mutation(
        "A login id beyond ASCII keeps to RFC 8265",
        "service/domain/users.py",
        "            local = enforce_username(local)\n",
        "            pass\n",
        "tests/domain/test_users.py::test_canonical_login_id_that_precis_disallows_is_none",
    ),
    Mutation(
        "A name has a visible character",
        "service/domain/users.py",
        "(?=.*[LNPS])",
        "",
        "tests/api/test_login_ids.py::test_create_user_with_an_invisible_or_deceptive_name_names_the_rule",
    ),
    Mutation(
        "An id has one spelling",
        "service/domain/ids.py",
        "    if len(text) != _CANONICAL_LENGTH or not _CANONICAL_CHARACTERS.issuperset(text):\n"
        "        return None\n"
        "    try:\n"
        "        value = UUID(text)\n"
        "    except ValueError:\n"
        "        return None\n"
        "    return value if str(value) == text else None\n",
        "    try:\n        return UUID(text)\n    except ValueError:\n        return None\n",
        "tests/domain/test_ids.py",
    ),
)
