"""Hooks of schemathesis: authenticate its requests, with the next token once one has ended."""

import json
import os
from typing import Any

import schemathesis

_tokens: list[str] = json.loads(os.environ["ROLLCALL_FUZZ_TOKENS"])


@schemathesis.auth(refresh_interval=None)
class Bearer:
    """Authenticates with the first token that is still valid."""

    def get(self, case: Any, context: Any) -> str:  # noqa: ARG002 - the signature is schemathesis'
        """Return the token for a request."""
        return _tokens[0]

    def set(self, case: Any, data: str, context: Any) -> None:  # noqa: ARG002 - see above
        """Put the token into a request."""
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:  # noqa: ARG001 - see above
    """Leave out undeclared methods of forward auth, which serves every one."""
    return bool(case.path != "/v1/forward-auth" or case.method == "GET")


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ARG001 - see above
    """Drop a token that a request has ended, so that the next request is not rejected for it."""
    sent = response.request.headers.get("Authorization")
    if response.status_code == 401 and sent == f"Bearer {_tokens[0]}" and len(_tokens) > 1:
        del _tokens[0]
