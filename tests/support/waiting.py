"""Waiting for a condition, which is what tests do in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
POLL_SECONDS = 0.02


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]],
    timeout_seconds: float = ...,
    message: str = ...,
    *,
    every_seconds: float = ...,
) -> T: ...
@overload
async def eventually(
    predicate: Callable[[], T], timeout_seconds: float = ..., message: str = ..., *, every_seconds: float = ...
) -> T: ...
async def eventually(
    predicate: Callable[[], object],
    timeout_seconds: float = 10.0,
    message: str = "",
    *,
    every_seconds: float = POLL_SECONDS,
) -> object:
    """The first truthy value of `predicate`, which is asked every `every_seconds`. Raises AssertionError, with the last
    value, when the time is over.

    An AssertionError inside the predicate counts as "not yet"; the last one is raised at the end.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while True:
        failure: AssertionError | None = None
        value: object = None
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
        except AssertionError as error:
            failure = error
        if loop.time() > deadline:
            raise AssertionError(f"{message or 'not so'} within {timeout_seconds:g} s; last: {value!r}") from failure
        await asyncio.sleep(every_seconds)
