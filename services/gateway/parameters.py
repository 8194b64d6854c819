"""Parameters of a request's address: one that its route does not know is refused by name, as a field of a body is. A
misspelled filter would list everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from services.gateway.errors import Invalid


def known_parameters(app: FastAPI) -> dict[Callable[..., Any], frozenset[str]]:
    """What each endpoint takes, with what its dependencies take."""
    routes = [each.original_route for each in iter_route_contexts(app.routes)]
    return {each.endpoint: frozenset(_names(each.dependant)) for each in routes if isinstance(each, APIRoute)}


def refuse_unknown(request: Request) -> None:
    """Raises Invalid, which names each that is not known and says what there is."""
    if not request.query_params:
        return
    known = _known_parameters(request.app)[request.scope["endpoint"]]
    takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        errors = [{"field": name, "problem": f"is no parameter of this request; {takes}"} for name in unknown]
        raise Invalid("; ".join(f"{e['field']}: {e['problem']}" for e in errors), code="invalid", errors=errors)


_known_parameters = cache(known_parameters)


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for each in dependant.dependencies:
        yield from _names(each)
