"""The agents that the service has: two that work, one that is broken, and its successor."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

AGENT: Final = "agent_version"
"""The flag that says which agent answers a user."""

FIRST, GOOD, BROKEN, MENDED = "v1", "v2", "v3", "v4"


class AgentFailed(Exception):
    """The agent had no answer."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What one version is like: its seconds of work, and every how many requests it fails."""

    seconds: float
    fails_every: int = 0


AGENTS: Final[Mapping[str, Agent]] = {
    FIRST: Agent(0.006),
    GOOD: Agent(0.005),
    BROKEN: Agent(0.120, fails_every=10),
    MENDED: Agent(0.005),
}


class Agents:
    """The agents of one process. Failures come by count, so that each run has as many."""

    def __init__(self) -> None:
        self._counts: dict[str, Iterator[int]] = {name: itertools.count() for name in AGENTS}

    def work(self, version: str) -> None:
        """Answer one request. Raises AgentFailed."""
        agent = AGENTS[version]
        number = next(self._counts[version])
        time.sleep(agent.seconds)
        if agent.fails_every and number % agent.fails_every == agent.fails_every // 3:
            raise AgentFailed(version)
