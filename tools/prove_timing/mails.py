"""Prove that asking for a mail, and entering a wrong code, takes the same time with and without an account.

Source: OWASP ASVS 5.0 6.3.8; CWE-208.
"""

import random
from collections.abc import Mapping
from typing import Final

import click
import httpx
from sqlalchemy import text

from service.app import Application
from service.cli.console import print_result, print_status
from service.db.repositories.users import NewUser, UserRepository
from service.domain.callers import OPERATOR
from service.domain.users import UserRole, UserState
from service.security.ids import new_id
from service.security.tokens import CODE_PREFIX, new_token
from service.usecases.mail_requests import resolve_requests
from settings import get_settings
from settings.login import LoginSettings
from tools.prove_timing.comparison import report
from tools.prove_timing.scratch_service import post, run_with_application

MAX_DIFFERENCE_MS: Final = 1.0
REQUESTS_PER_NAME: Final = 4
"""Fewer than the limit of an hour."""
Requests = Mapping[str, list[tuple[str, dict[str, str]]]]
"""Path and body of each request, by kind; the first kind is the reference."""


@click.command("prove-timing-mail")
@click.option("--samples", default=300, show_default=True, type=click.IntRange(20), help="Of each kind.")
def prove_timing_mail(samples: int) -> None:
    """Compare the durations of requests for recovery and for codes, and of wrong codes.

    Works on a scratch database beside the configured one. Exit status 1 if the median or the 95th percentile
    of a kind differs from that of an account by more than 1 ms and 5 %, and significantly.
    """
    settings = get_settings().model_copy(update={"login": LoginSettings(by_code=True)})
    distinguishable = run_with_application(settings, lambda app: _prove(app, samples))
    if distinguishable:
        raise click.ClickException(f"Distinguishable from an account: {', '.join(distinguishable)}.")
    print_result("Neither asking for a mail nor a wrong code reveals by its duration who has an account.")


async def _prove(app: Application, samples: int) -> list[str]:
    async with app.services.closing():  # without background work: nothing is resolved meanwhile
        await app.services.read_pool.start()
        names = await _names(app, samples)
        print_status(f"{samples} requests of each of {3 * len(names)} kinds.")
        found = []
        for path in ("/v1/recoveries", "/v1/login-codes"):
            requests = {kind: [(path, body) for body in bodies] for kind, bodies in names.items()}
            found += await _compare(app, path, requests)
        return found + await _compare(app, "wrong codes", await _wrong_codes(app, names))


async def _names(app: Application, samples: int) -> dict[str, list[dict[str, str]]]:
    """Create accounts of every kind; return what to ask with, each name a few times."""
    kinds = {
        "verified": (UserState.ACTIVE, True),
        "disabled": (UserState.DISABLED, True),
        "not verified": (UserState.ACTIVE, False),
    }
    places = range(-(-samples // REQUESTS_PER_NAME))
    logins = {kind: [f"{kind.replace(' ', '-')}-{place}" for place in places] for kind in kinds}
    async with app.services.database.transaction(caller=OPERATOR) as tx:
        for kind, (state, is_verified) in kinds.items():
            for login_id in logins[kind]:
                await UserRepository(tx).add(_account(login_id, state, is_verified=is_verified))
    logins["unknown"] = [f"nobody-{place}" for place in places]
    bodies = {kind: [{"login_id": name} for name in names] for kind, names in logins.items()}
    bodies["address"] = [{"email": f"{name}@example.org"} for name in logins["verified"]]
    bodies["unknown address"] = [{"email": f"{name}@example.org"} for name in logins["unknown"]]
    bodies["impossible"] = [{"login_id": f"?{place}"} for place in places]
    return {kind: (each * REQUESTS_PER_NAME)[:samples] for kind, each in bodies.items()}


def _account(login_id: str, state: UserState, *, is_verified: bool) -> NewUser:
    return NewUser(
        new_id(),
        login_id,
        "Timing",
        None,
        UserRole.USER,
        state,
        email=f"{login_id}@example.org",
        email_verified=is_verified,
    )


async def _wrong_codes(app: Application, names: Mapping[str, list[dict[str, str]]]) -> Requests:
    """Ask for codes with and without an account; return requests that enter wrong ones."""
    services = app.services
    await _forget_counts(app)
    requests: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for kind in ("verified", "unknown"):
        responses = [await _send(app, "/v1/login-codes", body) for body in names[kind]]
        requests[kind] = [_entered(response.json()["code_token"]) for response, _ in responses]
    while await services.database.run(
        lambda tx: resolve_requests(tx, batch=50, tokens=services.mail_tokens), caller=OPERATOR
    ):
        pass
    requests["no such token"] = [_entered(new_token(CODE_PREFIX).value) for _ in names["unknown"]]
    return requests


def _entered(code_token: str) -> tuple[str, dict[str, str]]:
    return "/v1/sessions", {"code_token": code_token, "code": "no code"}


async def _compare(app: Application, title: str, requests: Requests) -> list[str]:
    """Send all requests, the kinds in random order each time; return the kinds that differ."""
    await _forget_counts(app)
    spent_ms: dict[str, list[float]] = {kind: [] for kind in requests}
    for place in range(min(map(len, requests.values()))):
        for kind in random.sample(list(requests), len(requests)):
            _, spent = await _send(app, *requests[kind][place])
            spent_ms[kind].append(spent)
    reference = next(iter(requests))
    differing = report(title, spent_ms, reference=reference, max_difference_ms=MAX_DIFFERENCE_MS)
    return [f"{kind} ({title})" for kind in differing]


async def _send(app: Application, path: str, body: dict[str, str]) -> tuple[httpx.Response, float]:
    """Send a request from a network of its own; return its duration in ms too."""
    response, spent_ms = await post(app, path, body)
    if response.status_code not in (202, 401):
        raise click.ClickException(f"A request that must get 202 or 401 got {response.status_code}.")
    return response, spent_ms


async def _forget_counts(app: Application) -> None:
    async with app.services.engine.begin() as connection:
        await connection.execute(text("DELETE FROM mail_counts"))


if __name__ == "__main__":
    prove_timing_mail()
