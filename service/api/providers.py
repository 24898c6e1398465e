"""What the functions of endpoints can ask for, by the types of their parameters."""

from collections.abc import Callable
from typing import Any

from service.api.cookies import CookieSessions
from service.api.dispatch import Provider, Providers
from service.api.openapi.routes import OpenApiJson
from service.api.requests import OperationRequest
from service.db.core.database import Database
from service.db.readiness import Readiness
from service.db.reads import Reads, ReplicaReads
from service.db.repositories.devices import DeviceReads
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads
from service.db.repositories.passkeys import PasskeyReads
from service.db.repositories.sessions import SessionReads
from service.db.repositories.users import UserReads
from service.observability.metrics import RequestTelemetry
from service.security.hashing.hasher import PasswordHasher
from service.security.mail_tokens import MailTokens
from service.usecases.access_tokens import AccessTokenIssuer
from service.usecases.factors import FactorParts
from service.usecases.last_used import LastUsedTracker
from service.usecases.open_session import LoginParts
from service.usecases.policies import Policies


def make_providers(
    *,
    database: Database,
    reads: Reads,
    hasher: PasswordHasher,
    login: LoginParts,
    policies: Policies,
    last_used: LastUsedTracker,
    mail_tokens: MailTokens,
    telemetry: RequestTelemetry,
    readiness: Readiness,
    issuer: AccessTokenIssuer,
    factors: FactorParts,
    cookies: CookieSessions,
    openapi_json: Callable[[], OpenApiJson],
) -> Providers:
    """Return a provider for every type of parameter.

    `Reads` reads from the primary. `UserReads` and the like may read from a replica that is no older than the
    caller's authentication.
    """

    def recent(request: OperationRequest) -> ReplicaReads:
        return reads.at(request.caller.wal_position)

    return {
        OperationRequest: lambda request: request,
        UserReads: lambda request: recent(request).users,
        SessionReads: lambda request: recent(request).sessions,
        ApiKeyReads: lambda request: recent(request).keys,
        EventReads: lambda request: recent(request).events,
        PasskeyReads: lambda request: recent(request).passkeys,
        DeviceReads: lambda request: recent(request).devices,
        FactorParts: _constant(factors),
        AccessTokenIssuer: _constant(issuer),
        CookieSessions: _constant(cookies),
        Database: _constant(database),
        Reads: _constant(reads),
        PasswordHasher: _constant(hasher),
        LoginParts: _constant(login),
        Policies: _constant(policies),
        LastUsedTracker: _constant(last_used),
        MailTokens: _constant(mail_tokens),
        RequestTelemetry: _constant(telemetry),
        Readiness: _constant(readiness),
        OpenApiJson: lambda _request: openapi_json(),
    }


def _constant(part: Any) -> Provider:
    return lambda _request: part
