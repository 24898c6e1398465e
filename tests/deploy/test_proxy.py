"""The nginx example does what the documents demand of a proxy."""

import re
from pathlib import Path

CONFIG = (Path(__file__).resolve().parents[2] / "examples/proxy/nginx.conf").read_text()
PLAIN, TLS = (re.split(r"^    server \{$", CONFIG, flags=re.MULTILINE)[number] for number in (2, 3))


def locations(server: str) -> dict[str, str]:
    return dict(re.findall(r"location (\S+(?: \S+)?) \{\n(.*?)\n        \}", server, re.DOTALL))


def test_call_over_plain_http_is_rejected_and_only_the_page_redirects() -> None:
    """A redirect would hide from the client that it has sent a password in clear. ASVS 5.0 4.1.2."""
    assert "listen 80;" in PLAIN
    answers = {path: re.findall(r"return (\d+)", body) for path, body in locations(PLAIN).items()}
    assert answers == {"= /docs": ["308"], "/": ["403"]}


def test_configuration_repeats_no_name_that_the_client_chose() -> None:
    assert not re.search(r"\$(?:http_)?host\b", CONFIG)
    assert set(re.findall(r"proxy_set_header Host (\S+);", CONFIG)) == {"accounts.example.org"}
    assert len(re.findall(r"listen \d+(?: ssl)? default_server;", CONFIG)) == 2


def test_proxy_replaces_what_clients_claim_about_themselves() -> None:
    """Source: OWASP ASVS 5.0 4.1.3."""
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in TLS
    assert 'proxy_set_header X-Request-Id "";' in TLS


def test_proxy_sends_hsts_for_all_subdomains() -> None:
    """Source: OWASP ASVS 5.0 3.4.1."""
    header = re.search(
        r'add_header Strict-Transport-Security "max-age=(\d+); includeSubDomains" always;', TLS
    )
    assert header is not None
    assert int(header[1]) >= 365 * 24 * 3600
    assert CONFIG.count("add_header") == 1  # another one in a location would replace it there


def test_proxy_limits_requests_and_connections_of_a_network() -> None:
    zones = dict(re.findall(r"limit_(?:req|conn)_zone (\S+) zone=(\w+):", CONFIG))
    assert set(zones) == {"$client_network"}
    assert "limit_conn connections" in TLS
    hashing = next(body for path, body in locations(TLS).items() if "sessions" in path)
    assert "zone=logins" in hashing
    assert "zone=requests" in hashing  # a limit in a location replaces those above it


def test_proxy_keeps_operational_paths_inside() -> None:
    assert "return 404;" in locations(TLS)["/"]
    assert not [path for path in locations(TLS) if "metrics" in path or "health" in path]
