"""The audit trail."""

from typing import Any

from litestar import Controller, HttpMethod, Request, Response

from service.api.cursors import read_cursor, write_cursor
from service.api.injection import GivenReads
from service.api.operations import Operation, ResponseSpec, endpoint
from service.api.pagination import cursor_scope, page_answer
from service.api.pipeline import call_of
from service.api.schemas.common import PageQuery
from service.api.schemas.events import EventPage, EventView
from service.domain.callers import Access
from service.domain.errors import InvalidCursor

LIST_EVENTS = Operation(
    id="list_events",
    summary="List the audit trail",
    tag="events",
    access=Access(admin=True),
    answers={200: ResponseSpec("A page of events, newest first.", EventPage, ("Link",))},
    problems=(InvalidCursor,),
    query=PageQuery,
)


class EventController(Controller):
    """`/v1/events`."""

    path = "/v1/events"

    @endpoint(HttpMethod.GET, "", LIST_EVENTS)
    async def list_events(self, request: Request[Any, Any, Any], reads: GivenReads) -> Response[bytes]:
        """List the events, newest first."""
        call = call_of(request)
        query, listing = call.query(PageQuery), cursor_scope(call)
        recent = reads.at(call.caller.wal_position)
        page = await recent.events.list_page(after=read_cursor(query.cursor, listing), limit=query.limit)
        next_cursor = write_cursor(page.next, listing)
        return page_answer(call, EventPage(list(map(EventView.of, page.items)), next_cursor), next_cursor)
