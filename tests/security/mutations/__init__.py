"""Defences, how each is broken for a moment, and the test that has to notice; docs/security.md lists them."""

from tests.security.mutations import (
    access,
    cookies,
    edge,
    factors,
    gateways,
    hashing,
    identity,
    mail,
    operations,
    passkeys,
    passwords,
    second_factor,
    sessions,
    throttle,
    tokens,
)
from tests.security.mutations.mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

_AREAS = (
    throttle,
    passwords,
    hashing,
    sessions,
    access,
    identity,
    mail,
    edge,
    gateways,
    tokens,
    cookies,
    factors,
    second_factor,
    passkeys,
    operations,
)
MUTATIONS = tuple(mutation for area in _AREAS for mutation in area.MUTATIONS)
