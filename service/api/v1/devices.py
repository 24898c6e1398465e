"""Devices: list and forget."""

from functools import partial

from service.api.http.response import Response
from service.api.operations import ResponseSpec, delete, get
from service.api.pagination import page_response
from service.api.requests import OperationRequest
from service.api.responses import no_content
from service.api.schemas.common import PageQuery
from service.api.schemas.devices import DevicePage, DeviceView
from service.api.writes import Writes
from service.db.repositories.devices import DeviceReads
from service.domain.callers import Access
from service.usecases import devices


@get(
    "/v1/users/me/devices",
    description="Those that the user has logged in from, at most twenty. The user is notified of a "
    "login from another.",
    tag="sessions",
    access=Access(owner=True),
    responses={200: ResponseSpec("A page of devices, oldest first.", DevicePage, ("Link",))},
    query=PageQuery,
)
async def list_devices(request: OperationRequest, known: DeviceReads) -> Response:
    """List one's devices."""
    session = request.session
    read = partial(known.list_page, session.user.id, session_id=session.session.id)
    return await page_response(request, read, DevicePage, DeviceView.of)


@delete(
    "/v1/users/me/devices/{device_id}",
    description="Ends the sessions opened from it, except that of the token. The next login from it is one "
    "from a new device.",
    tag="sessions",
    access=Access(owner=True),
    responses={204: ResponseSpec("The device is forgotten.")},
)
async def forget_device(request: OperationRequest, writes: Writes) -> Response:
    """Forget a device."""
    await writes.run(
        devices.forget_device, request.subject_id, session=request.session, context=request.context
    )
    return no_content()
