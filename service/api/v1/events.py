"""The audit trail."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, get
from service.api.pagination import page_response
from service.api.requests import OperationRequest
from service.api.schemas.common import PageQuery
from service.api.schemas.events import EventPage, EventView
from service.db.repositories.events import EventReads
from service.domain.callers import Access
from service.domain.keys import Scope


@get(
    "/v1/events",
    description="Who did what to whom, as ids only; newest first.",
    tag="events",
    access=Access(admin=True, scope=Scope.EVENTS_READ),
    responses={200: ResponseSpec("A page of events, newest first.", EventPage, ("Link",))},
    query=PageQuery,
)
async def list_events(request: OperationRequest, events: EventReads) -> Response:
    """List the audit trail."""
    return await page_response(request, events.list_page, EventPage, EventView.of)
