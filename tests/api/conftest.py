"""The edge before an application of the tests, and what it records."""

import pytest

from service.api.http.edge import EdgeMiddleware
from service.observability.access_log import RequestRecord
from tests.support.asgi import Inner


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def records() -> list[RequestRecord]:
    return []


@pytest.fixture
def edge(inner: Inner, records: list[RequestRecord]) -> EdgeMiddleware:
    return EdgeMiddleware(inner, observe=records.append)
