"""Session cookies."""

from tests.security.mutations.mutation import Mutation

_COOKIES = "service/api/cookies.py"
_COOKIE_TESTS = "tests/api/test_cookies.py"

MUTATIONS = (
    Mutation(
        "Scripts cannot read the session cookie",
        _COOKIES,
        'b"; Path=/; Secure; HttpOnly; SameSite=Lax"',
        'b"; Path=/; Secure; SameSite=Lax"',
        f"{_COOKIE_TESTS}::test_login_with_a_cookie_sets_it_and_returns_no_token",
    ),
    Mutation(
        "With a cookie, the token is in no body",
        "service/api/v1/login.py",
        "token=UNSET if body.cookie else opened.token",
        "token=opened.token",
        f"{_COOKIE_TESTS}::test_login_with_a_cookie_sets_it_and_returns_no_token",
    ),
    Mutation(
        "A page of another site changes nothing with the cookie",
        _COOKIES,
        "if method not in _SAFE_METHODS:",
        "if False:",
        f"{_COOKIE_TESTS}::test_change_with_the_cookie_by_another_site_is_rejected",
    ),
    Mutation(
        "A page of another host of the same site changes nothing either",
        _COOKIES,
        'fields.get(b"sec-fetch-site") == b"same-origin"',
        'fields.get(b"sec-fetch-site") in (b"same-origin", b"same-site")',
        f"{_COOKIE_TESTS}::test_change_with_the_cookie_by_another_site_is_rejected",
    ),
    Mutation(
        "The origin of a page is compared as a whole",
        _COOKIES,
        "if origin is None or not (origin in self._origins or origin == self._own(fields)):",
        "if origin is None:",
        f"{_COOKIE_TESTS}::test_change_with_the_cookie_by_another_site_is_rejected",
    ),
    Mutation(
        "A page of another site logs nobody in",
        "service/api/v1/login.py",
        "cookies.require_allowed_page(request.fields)",
        "return",
        f"{_COOKIE_TESTS}::test_login_with_a_cookie_by_another_site_is_rejected",
    ),
    Mutation(
        "Cookie and token are not both accepted",
        _COOKIES,
        'if b"authorization" in fields:',
        "if False:",
        f"{_COOKIE_TESTS}::test_send_cookie_and_token_is_rejected",
    ),
    Mutation(
        "Of two session cookies none counts",
        _COOKIES,
        "return values[0] if len(values) == 1 and values[0] else None",
        "return values[0] if values else None",
        f"{_COOKIE_TESTS}::test_send_the_cookie_twice_counts_as_none",
    ),
    Mutation(
        "The cookie is ignored unless it is enabled",
        _COOKIES,
        '_token_in(fields.get(b"cookie")) if self.is_enabled else None',
        '_token_in(fields.get(b"cookie"))',
        f"{_COOKIE_TESTS}::test_cookie_of_a_service_without_cookies_is_ignored",
    ),
    Mutation(
        "Logging out clears the cookie",
        "service/api/v1/sessions.py",
        'return with_cookie_cleared(no_content()) if BY_COOKIE in request.scope["state"] else no_content()',
        "return no_content()",
        f"{_COOKIE_TESTS}::test_logout_with_the_cookie_ends_the_session_and_clears_it",
    ),
    Mutation(
        "The end of a session clears the cookie",
        "service/api/pipeline.py",
        'if isinstance(error, InvalidToken) and BY_COOKIE in http["state"]:',
        "if False:",
        f"{_COOKIE_TESTS}::test_read_after_the_session_has_ended_clears_the_cookie",
    ),
    Mutation(
        "Pages of other origins get credentials only where cookies are enabled",
        "service/api/http/edge.py",
        "(_EXPOSED, _CREDENTIALS) if allows_cookies else (_EXPOSED,)",
        "(_EXPOSED, _CREDENTIALS)",
        "tests/api/test_cors.py::test_send_configured_origin_allows_it",
    ),
    Mutation(
        "Session cookies in several header lines are several",
        "service/api/http/headers.py",
        ', b"cookie": b"; "}',
        "}",
        "tests/api/test_cookies.py::test_send_the_cookie_in_two_header_lines_counts_as_none",
    ),
    Mutation(
        "With a cookie, a step-up shows no token",
        "service/api/v1/sessions.py",
        "        return ok(SteppedUpView(token=renewed.token, session=session))\n    lifetime",
        "        pass\n    return ok(SteppedUpView(token=renewed.token, session=session))\n    lifetime",
        "tests/api/test_cookies.py::test_step_up_with_the_cookie_sets_a_new_one_and_returns_no_token",
    ),
)
