"""Functions that a named switch can stop, in every process (rule K7)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def guarding(
    is_up: Callable[[str], bool], switch: str, otherwise: Any
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that calls ``otherwise`` in a function's place while the switch is down.

    The switch is asked at each call; work that has begun goes on. An async function's ``otherwise``
    may be async too. A generator function's must return something to iterate over.
    """

    def instead(*args: Any, **kwargs: Any) -> Any:
        return otherwise(*args, **kwargs) if callable(otherwise) else otherwise

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                if is_up(switch):
                    return await function(*args, **kwargs)
                answer = instead(*args, **kwargs)
                return await answer if inspect.isawaitable(answer) else answer

            return guarded_async  # type: ignore[return-value]

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) if is_up(switch) else instead(*args, **kwargs)

        return guarded

    return decorate
