"""Recovery codes: make new ones."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, post
from service.api.requests import OperationRequest
from service.api.responses import created
from service.api.schemas.recovery_codes import RecoveryCodesView
from service.api.writes import Writes
from service.domain.callers import Access
from service.domain.errors import ValidationFailed
from service.usecases import recovery_codes


@post(
    "/v1/users/me/recovery-codes",
    description="Ten codes, shown this once, in place of those before. Each stands in once for a second "
    "factor that is lost. Needs a recent login, and a second factor.",
    tag="factors",
    access=Access(owner=True, fresh=True),
    responses={201: ResponseSpec("The codes, shown this once.", RecoveryCodesView)},
    errors=(ValidationFailed,),
)
async def create_recovery_codes(request: OperationRequest, writes: Writes) -> Response:
    """Make recovery codes."""
    codes = await writes.run(recovery_codes.create_recovery_codes, context=request.context)
    return created(RecoveryCodesView(codes))
