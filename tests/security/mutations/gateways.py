"""Introspection, revocation and forward authentication."""

from tests.security.mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "A visitor's token does not make introspection fail",
        "service/api/http/forms.py",
        'body.decode("utf-8", "replace")',
        'body.decode("utf-8")',
        "tests/api/test_introspection.py::test_introspect_with_an_odd_form_is_read_strictly",
    ),
    Mutation(
        "A login id cannot become a header field of a gateway",
        "service/api/v1/forward_auth.py",
        "login = quote(user.login_id, safe=_VISIBLE).encode()",
        "login = user.login_id.encode()",
        "tests/api/test_forward_auth.py::test_call_for_any_login_id_and_name_sends_visible_ascii_that_decodes_to_it",
    ),
    Mutation(
        "A role that a gateway demands is demanded",
        "service/api/v1/forward_auth.py",
        "if not (roles <= _roles_of(caller) and scopes <= set(_scope_of(caller).split())):",
        "if not roles <= _roles_of(caller):",
        "tests/api/test_forward_auth.py::test_require_role_or_scope_lets_only_their_holders_in",
    ),
    Mutation(
        "Two tokens of a gateway's visitor count as none",
        "service/api/http/headers.py",
        '        del fields[b"authorization"]\n',
        '        fields[b"authorization"] += b""\n',
        "tests/api/test_forward_auth.py::test_call_with_two_tokens_counts_as_none",
    ),
    Mutation(
        "A visitor's path below forward auth leads nowhere else",
        "service/api/dispatch.py",
        "            if path.startswith(prefix):\n",
        "            if path.startswith(prefix) and '/..' not in path:\n",
        "tests/api/test_forward_auth.py::test_call_with_what_a_visitor_sends_is_served_by_the_token_alone",
    ),
    Mutation(
        "A service with a wrong secret is rejected, not anonymous",
        "service/api/authentication.py",
        "            raise InvalidClient from None\n",
        "            return ANONYMOUS\n",
        "tests/api/test_revocation.py::test_revoke_with_invalid_credentials_is_rejected_and_ends_nothing",
    ),
    Mutation(
        "The secret in the header wins over the one in the form",
        "service/api/pipeline.py",
        "        secret = _client_secret_in(body, fields) if authorization is None else None\n",
        "        secret = _client_secret_in(body, fields)\n"
        "        authorization = None if secret else authorization\n",
        "tests/api/test_client_authentication.py"
        "::test_introspect_without_valid_credentials_is_rejected_as_oauth_clients_read_it",
    ),
    Mutation(
        "A session in use behind a gateway is not idle",
        "service/usecases/introspection.py",
        "        last_used.record_session(found)\n",
        "",
        "tests/api/test_introspection.py::test_introspect_is_a_use_of_the_session_and_of_the_key",
    ),
    Mutation(
        "An API key is not revoked by whoever has it",
        "service/api/v1/introspection.py",
        "        raise UnsupportedTokenType\n",
        "        return ok_without_body()\n",
        "tests/api/test_revocation.py::test_revoke_an_api_key_is_not_supported",
    ),
)
