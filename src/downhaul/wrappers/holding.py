"""One backend that answers in this thread, whoever is in charge: so that no answers are mixed."""

from __future__ import annotations

import threading
from collections.abc import Callable

from downhaul.context import Context
from downhaul.evaluator.asking import Ask
from downhaul.flag import FlagKind
from downhaul.provider import FlagProvider
from downhaul.result import Result


class Held:
    """Who answers in each thread, of the backends that a provider is made of."""

    def __init__(self) -> None:
        self._here = threading.local()

    def here(self) -> FlagProvider | None:
        """Return who is held to answer in this thread, or None: whoever is in charge."""
        held: FlagProvider | None = getattr(self._here, "backend", None)
        return held

    def to(self, backend: FlagProvider) -> Callable[[Ask], Ask]:
        """Return what makes one backend answer whatever is asked through a ``resolve``."""
        here = self._here

        def asked(resolve: Ask) -> Ask:
            def ask(key: str, context: Context, kind: FlagKind | None) -> Result:
                before = getattr(here, "backend", None)
                here.backend = backend
                try:
                    return resolve(key, context, kind)
                finally:
                    here.backend = before

            return ask

        return asked
