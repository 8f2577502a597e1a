"""What a metric source is made of: its table in the plan, and what is around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from downhaul.errors import ConfigError
from downhaul.store.database import Database


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What a factory of metric sources is given.

    ``name`` is what the plan calls the source. ``options`` are what stands beside it in
    ``[metrics]``: the settings model, as made of the table, or the table itself where the source
    has no model. ``environment`` is the one that the rollout is in.

    ``database`` is the control store's, for sources that live there. Others need no more of it than
    its clock.
    """

    name: str
    options: Any
    environment: str
    database: Database

    def now(self) -> int:
        """Return the control store's time in microseconds since 1970. Raises Unreachable.

        Rollouts are timed by it, so watermarks are: it is the same for all who look.
        """
        return int(self.database.scalar(self.database.dialect.microseconds))


def no_users(name: str, hint: str) -> ConfigError:
    """Return the error of a source that is asked to count people, and can't tell them apart."""
    message = f'the plan counts people, and metric source "{name}" doesn\'t know who asked'
    return ConfigError(message, hint=hint)
