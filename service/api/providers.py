"""What the functions of endpoints can ask for, by the types of their parameters."""

from collections.abc import Callable, Iterable

from service.api.dispatch import Provider, Providers
from service.api.openapi.routes import OpenApiJson
from service.api.requests import OperationRequest
from service.api.writes import Writes
from service.db.core.database import Database
from service.db.reads import Reads, ReplicaReads
from service.db.repositories.devices import DeviceReads
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads
from service.db.repositories.passkeys import PasskeyReads
from service.db.repositories.sessions import SessionReads
from service.db.repositories.users import UserReads


def make_providers(
    database: Database, reads: Reads, openapi_json: Callable[[], OpenApiJson], shared: Iterable[object]
) -> Providers:
    """Return a provider for every type of parameter: requests share the `shared` parts, each by its type.

    `Reads` reads from the primary. `UserReads` and the like may read from a replica that is no older than the
    caller's authentication.
    """

    def recent(request: OperationRequest) -> ReplicaReads:
        return reads.at(request.caller.wal_position)

    return {
        OperationRequest: lambda request: request,
        Database: lambda _request: database,
        Writes: lambda request: Writes(database, request.caller),
        Reads: lambda _request: reads,
        UserReads: lambda request: recent(request).users,
        SessionReads: lambda request: recent(request).sessions,
        ApiKeyReads: lambda request: recent(request).keys,
        EventReads: lambda request: recent(request).events,
        PasskeyReads: lambda request: recent(request).passkeys,
        DeviceReads: lambda request: recent(request).devices,
        OpenApiJson: lambda _request: openapi_json(),
        **{type(part): _constant(part) for part in shared},
    }


def _constant(part: object) -> Provider:
    return lambda _request: part
