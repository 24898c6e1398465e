"""Version 1 of the API, one module per resource, and the operational endpoints beside it."""

from typing import Final

from service.api.operations import Endpoint
from service.api.v1 import (
    emails,
    events,
    forward_auth,
    health,
    introspection,
    keys,
    login,
    metadata,
    passwords,
    recovery,
    sessions,
    tokens,
    users,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    users.create_user,
    users.list_users,
    users.get_user,
    users.update_user,
    users.delete_user,
    passwords.change_password,
    passwords.create_reset_token,
    passwords.redeem_reset_token,
    recovery.request_recovery,
    emails.send_verification,
    emails.verify_email,
    login.log_in,
    login.create_passkey_challenge,
    sessions.get_current_session,
    sessions.step_up,
    sessions.log_out,
    sessions.list_sessions,
    sessions.end_sessions,
    sessions.get_session,
    sessions.end_session,
    introspection.introspect,
    introspection.revoke,
    forward_auth.forward_auth,
    metadata.get_server_metadata,
    metadata.get_openid_configuration,
    tokens.issue_token,
    tokens.get_jwks,
    keys.create_key,
    keys.list_keys,
    keys.get_key,
    keys.revoke_key,
    events.list_events,
    health.check_live,
    health.check_ready,
)
"""Every operation that is always served; the docs and `/metrics` depend on settings."""
