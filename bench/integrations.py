"""What gateways and other services ask, beside the plain requests that do the same work."""

from collections.abc import Sequence

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say

READ = "/v1/sessions/current"
CONNECTIONS = 32
AUDIENCE = "https://orders.example.org"
ISSUING = {
    "ROLLCALL_PUBLIC_URL": "https://accounts.example.org",
    "ROLLCALL_TOKENS__AUDIENCES": AUDIENCE,
    "ROLLCALL_SECRETS__KEY": "A" * 43,
}


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    with servers.rollcall(dsn, "integrations", **ISSUING) as server:
        return [
            *_compare(
                server,
                plan,
                ("GET /v1/forward-auth", fixtures.reads("/v1/forward-auth")),
                (f"GET {READ}", fixtures.reads(READ)),
                most=1.0,
            ),
            *_compare(
                server,
                plan,
                ("POST /v1/introspect by Basic", fixtures.introspections(authorization=fixtures.BASIC)),
                ("the same by Bearer", fixtures.introspections()),
                most=1.05,
            ),
            *_compare(
                server,
                plan,
                ("POST /v1/tokens, ES256", fixtures.tokens(AUDIENCE)),
                (f"GET {READ}", fixtures.reads(READ)),
                most=1.5,
            ),
        ]


def _compare(
    server: servers.Server,
    plan: Plan,
    ours: tuple[str, Sequence[bytes]],
    plain: tuple[str, Sequence[bytes]],
    *,
    most: float,
) -> list[Comparison]:
    """Compare requests with plain ones, which they may cost `most` times: in time, and of the processor."""
    what = f"{ours[0]}, {CONNECTIONS} connections"
    rate = Comparison(what, plain[0], "/s", round(1 / most, 2))
    spent = Comparison(f"{what}: processor time", plain[0], "µs", most, at_least=False)
    for number in range(plan.rounds + 1):
        (our_rate, our_us), (plain_rate, plain_us) = (
            _load(server, requests, plan) for _, requests in (ours, plain)
        )
        if number == 0:
            continue  # a round to warm up
        say(
            f"  {what}, round {number} of {plan.rounds}: {our_rate:.0f}/s {our_us:.0f} µs,"
            f" {plain[0]} {plain_rate:.0f}/s {plain_us:.0f} µs"
        )
        rate.add(our_rate, plain_rate)
        spent.add(our_us, plain_us)
    return [rate, spent]


def _load(server: servers.Server, requests: Sequence[bytes], plan: Plan) -> tuple[float, float]:
    """Return requests a second, and the server's processor time of one in µs."""
    before = server.processor_s()
    result = load.full_speed(server.port, [*requests], connections=CONNECTIONS, seconds=plan.seconds)
    if result.rejected:
        raise RuntimeError(f"{server.name} rejected {result.rejected} of {result.responses} requests")
    return result.rate, (server.processor_s() - before) / result.responses * 1e6
