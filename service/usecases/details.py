"""Details of accounts: e-mail, language, external id, metadata."""

from service.db.core.transaction import Transaction
from service.db.repositories.emails import EmailRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.user_tokens import ResetTokenRepository, VerificationRepository
from service.domain.callers import Caller, CallerKind
from service.domain.details import METADATA_MAX_BYTES, DetailsPatch, checked, is_too_large, merge_metadata
from service.domain.emails import canonical_email, masked_email
from service.domain.errors import FieldError, Forbidden, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.mail import MailKind
from service.domain.users import User
from service.usecases.notices import notify
from service.usecases.policies import Policies

PRIVILEGED = "Only administrators and API keys may set this."
_TOO_LARGE = FieldError(
    "/metadata", "too_large", f"At most {METADATA_MAX_BYTES} bytes as JSON, merged with what is there."
)


def is_trusted(caller: Caller) -> bool:
    """Return whether a caller may set the details that only administrators and API keys may."""
    return caller.is_admin or caller.key is not None or caller.kind is CallerKind.OPERATOR


def check_details(patch: DetailsPatch, *, caller: Caller, policies: Policies) -> DetailsPatch:
    """Return a patch with its fields in canonical form.

    Raises:
        Forbidden: it names a detail that a plain user may not set.
        ReauthenticationRequired: the address changes, and the login of the session is too old.
            Source: OWASP ASVS 5.0 7.5.1.
        ValidationFailed: with every error at once.
    """
    if not is_trusted(caller) and patch.privileged:
        raise Forbidden(PRIVILEGED)
    result = checked(patch)
    if isinstance(result, list):
        raise ValidationFailed(*result)
    if "email" in patch.named:
        caller.require_recent_login(policies.sessions.step_up_ttl)
    return result


def details_of_new_user(
    patch: DetailsPatch, login_id: str | FieldError, caller: Caller
) -> DetailsPatch | list[FieldError]:
    """Return the details of a new user, or every error: its login id is its address if it is one."""
    if not is_trusted(caller) and patch.privileged:
        return [FieldError(f"/{name}", "not_settable", PRIVILEGED) for name in sorted(patch.privileged)]
    if patch.metadata and is_too_large(merge_metadata({}, patch.metadata)):
        return [_TOO_LARGE]
    if "email" not in patch.named and isinstance(login_id, str):
        patch = patch._replace(email=canonical_email(login_id))
    return checked(patch)


async def apply_details(tx: Transaction, user: User, patch: DetailsPatch, *, context: AuditContext) -> User:
    """Apply a checked patch to a locked user.

    A plain user's new address is pending until it is verified; the one before stays in use.

    Raises:
        ValidationFailed: the metadata would be too large.
        EmailTaken, ExternalIdTaken: another user has it.
    """
    if patch.named & {"locale", "external_id", "metadata"}:
        user = await _set_others(tx, user, patch)
    if "email" not in patch.named:
        return user
    if patch.email is None or is_trusted(context.caller):
        is_verified = patch.email_verified or _stays_verified(user, patch)
        return await replace_email(tx, user, patch.email, is_verified=is_verified, context=context)
    if patch.email == user.email:
        return await forget_pending_address(tx, user)
    return await EmailRepository(tx).set_pending(user.id, patch.email)


async def replace_email(
    tx: Transaction, user: User, email: str | None, *, is_verified: bool, context: AuditContext
) -> User:
    """Replace the address of a locked user; end what older mails can be used for, and notify the old address.

    A login under way may have begun with a code from the old mailbox. An address that is no longer verified
    is lost in the same way, but not notified: its mailbox is gone, or another's.

    Raises:
        EmailTaken: another user has verified it.
    """
    is_lost = user.verified_email is not None and not (is_verified and email == user.email)
    changed = await EmailRepository(tx).replace(user.id, email, is_verified=is_verified)
    if is_lost or email != user.email:
        await VerificationRepository(tx).drop(user.id)
        await ResetTokenRepository(tx).drop_mailed(user.id)
        await SessionRepository(tx).end_logins_under_way(user.id)
        await EventRepository(tx).add(context, Action.EMAIL_CHANGED, user.id)
        if user.verified_email is not None and email != user.email:
            new = masked_email(email) if email is not None else "–"
            await notify(tx, user, MailKind.EMAIL_CHANGED, recipient=user.verified_email, new_email=new)
    if changed.verified_email is not None and changed.verified_email != user.verified_email:
        await EventRepository(tx).add(context, Action.EMAIL_VERIFIED, user.id)
    return changed


async def forget_pending_address(tx: Transaction, user: User) -> User:
    """Forget the address that a session of a locked user has asked for, if there is one.

    Its link works without a session: it would outlive the thief of one. A new password forgets it too.
    """
    if user.pending_email is None:
        return user
    return await EmailRepository(tx).set_pending(user.id, None)


def _stays_verified(user: User, patch: DetailsPatch) -> bool:
    """Return whether a patch names the verified address again, and does not say that it is not verified."""
    is_same = patch.email is not None and patch.email == user.verified_email
    return is_same and "email_verified" not in patch.named


async def _set_others(tx: Transaction, user: User, patch: DetailsPatch) -> User:
    named, metadata = patch.named, merge_metadata(user.metadata, patch.metadata)
    if is_too_large(metadata):
        raise ValidationFailed(_TOO_LARGE)
    return await EmailRepository(tx).set_details(
        user.id,
        locale=patch.locale if "locale" in named else user.locale,
        external_id=patch.external_id if "external_id" in named else user.external_id,
        metadata=metadata,
    )
