"""Devices: list and forget."""

from http import HTTPMethod

from service.api.http.response import Response
from service.api.operations import Operation, ResponseSpec
from service.api.pagination import keyset_of, page_response
from service.api.requests import OperationRequest
from service.api.responses import no_content
from service.api.schemas.common import PageQuery
from service.api.schemas.devices import DevicePage, DeviceView
from service.db.core.database import Database
from service.db.repositories.devices import DeviceReads
from service.domain.callers import Access
from service.domain.errors import InvalidCursor, NotFound
from service.usecases import devices


@Operation(
    HTTPMethod.GET,
    "/v1/users/me/devices",
    description="Those that the user has logged in from, at most twenty. The user is notified of a "
    "login from another.",
    tag="sessions",
    access=Access(owner=True),
    responses={200: ResponseSpec("A page of devices, oldest first.", DevicePage, ("Link",))},
    errors=(InvalidCursor,),
    query=PageQuery,
)
async def list_devices(request: OperationRequest, known: DeviceReads) -> Response:
    """List one's devices."""
    query, session = request.query(PageQuery), request.session
    page = await known.list_page(
        session.user.id,
        session_id=session.session.id,
        after=keyset_of(request, query.cursor),
        limit=query.limit,
    )
    return page_response(request, DevicePage, page, DeviceView.of)


@Operation(
    HTTPMethod.DELETE,
    "/v1/users/me/devices/{device_id}",
    description="Ends the sessions opened from it, except that of the token. The next login from it is one "
    "from a new device.",
    tag="sessions",
    access=Access(owner=True),
    responses={204: ResponseSpec("The device is forgotten.")},
    errors=(NotFound,),
)
async def forget_device(request: OperationRequest, database: Database) -> Response:
    """Forget a device."""
    await database.run(
        lambda tx: devices.forget_device(
            tx, request.subject_id, session=request.session, context=request.context
        ),
        caller=request.caller,
    )
    return no_content()
