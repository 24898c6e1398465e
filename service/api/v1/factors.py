"""Second factors: remove all of a user."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, delete
from service.api.requests import OperationRequest
from service.api.responses import no_content
from service.api.writes import Writes
from service.domain.callers import Access
from service.domain.keys import Scope
from service.usecases import factors


@delete(
    "/v1/users/{user_id}/factors",
    description="For somebody who has lost them all: removes authenticator app, passkeys and recovery codes, "
    "and ends all sessions of the user, who is notified by mail. A session needs a recent login.",
    tag="factors",
    access=Access(admin=True, scope=Scope.ADMINS_WRITE, fresh=True),
    responses={204: ResponseSpec("The user has no second factor.")},
)
async def remove_factors(request: OperationRequest, writes: Writes) -> Response:
    """Remove the second factors of a user."""
    await writes.run(factors.remove_factors, request.subject_id, context=request.context)
    return no_content()
