"""The HTTP edge."""

from tests.security.mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "A forwarded address that cannot be parsed makes none count",
        "service/api/http/client_address.py",
        "            return _canonical(host)\n",
        "            continue\n",
        "tests/api/test_client_address.py::test_client_of_a_trusted_proxy_gives_the_rightmost_stranger",
    ),
    Mutation(
        "The documentation is not on a network unless it is asked for",
        "settings/http.py",
        "return self.is_loopback if self.docs is None else self.docs",
        "return self.docs is not False",
        "tests/api/test_methods.py::test_reference_and_metrics_on_a_network_are_404_unless_asked_for",
    ),
    Mutation(
        "Metrics are not on the port of the API on a network unless they are asked for",
        "settings/root.py",
        "return self.http.is_loopback if self.metrics.enabled is None else self.metrics.enabled",
        "return self.metrics.enabled is not False",
        "tests/api/test_methods.py::test_reference_and_metrics_on_a_network_are_404_unless_asked_for",
    ),
    Mutation(
        "What a client sends without effect is limited",
        "service/server/http_protocol.py",
        "            if self._silent_bytes > MAX_SILENT_BYTES:\n",
        "            if False:\n",
        "tests/server/test_http_protocol.py::test_reject_a_request_responds_with_a_problem_and_records_the_network",
    ),
    Mutation(
        "Nothing is read while a request is queued",
        "service/server/http_protocol.py",
        "if self.read_paused and protocol is not None and not protocol.pipeline:",
        "if self.read_paused and protocol is not None:",
        "tests/server/test_http_protocol.py::test_pipeline_requests_while_bodies_are_read_keeps_reading_paused",
    ),
    Mutation(
        "Few requests are queued on a connection",
        "service/server/http_protocol.py",
        "        if len(self.pipeline) >= MAX_QUEUED_REQUESTS:\n",
        "        if False:\n",
        "tests/server/test_http_protocol.py::test_pipeline_too_many_small_requests_responds_some_and_closes",
    ),
    Mutation(
        "Trailers do not become header fields",
        "service/server/http_protocol.py",
        '        scope["headers"] = tuple(self.headers)\n'
        "        self.headers = NO_FIELDS  # what follows are trailers\n",
        "",
        "tests/server/test_http_protocol.py::test_send_trailers_drops_them",
    ),
    Mutation(
        "The body of a declined upgrade is a body",
        "service/server/http_protocol.py",
        "        self._feed(head + data[head_bytes:])\n",
        "        self._feed(head)\n",
        "tests/server/test_upgrade_offers.py::test_hide_a_request_in_the_body_of_an_offer_is_not_served",
    ),
    Mutation(
        "Parser errors are answered after the responses that are due",
        "service/server/http_protocol.py",
        "        if previous is None or previous.response_complete:\n",
        "        if True:\n",
        "tests/server/test_http_protocol.py::test_send_a_malformed_request_behind_another_responds_in_order",
    ),
    Mutation(
        "A body that breaks off is not a whole one",
        "service/server/http_protocol.py",
        '        cycle.scope["state"][BODY_ERROR] = error\n',
        "        cycle.more_body = False\n",
        "tests/server/test_http_protocol.py::test_send_a_malformed_body_gets_one_response_and_reaches_no_application_whole",
    ),
    Mutation(
        "A target has one form",
        "service/server/http_protocol.py",
        '        if not target.startswith(b"/") or b"#" in target or not target.isascii():\n',
        "        if False:\n",
        "tests/api/test_framing.py::test_send_another_form_of_target_is_rejected_unless_it_names_this_host",
    ),
    Mutation(
        "One space stands before a target",
        "service/server/http_protocol.py",
        "            if not self.url:\n                raise MalformedRequest\n",
        "            if False:\n                raise MalformedRequest\n",
        "tests/server/test_http_protocol.py::test_send_two_spaces_before_the_target_is_rejected",
    ),
    Mutation(
        "One network has a share of the connections",
        "service/server/connections.py",
        "            is_within = is_within and self._by_network[network] <= self._per_network\n",
        "",
        "tests/server/test_connections.py::test_connect_beyond_the_limit_of_a_network_gets_503",
    ),
    Mutation(
        "A client does not choose the request id",
        "service/api/http/edge.py",
        '        state["request_id"] = request_id = new_request_id()\n',
        '        sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")\n'
        '        state["request_id"] = request_id = sent or new_request_id()\n',
        "tests/api/test_edge.py::test_send_request_id_gets_one_of_our_own_and_is_logged_beside_it",
    ),
    Mutation(
        "A forged cursor is an error of the client",
        "service/api/cursors.py",
        "except (ValueError, OverflowError, RecursionError):",
        "except ValueError:",
        "tests/api/test_pagination.py::test_cursor_with_a_time_that_utc_lacks_is_rejected",
    ),
)
