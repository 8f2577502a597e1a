"""One run of one command: what was asked for, and the way to what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from downhaul.cli.exits import exit_of
from downhaul.cli.output import Output
from downhaul.errors import DownhaulError, VersionConflict

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.control import Operator

_ASK_NO_POLICY: Final = frozenset(
    {
        "kill",
        "kills",
        "flags off",
        "rollout pause",
        "rollout rollback",
        "rollout revert",
        "rollout cancel",
        "controller run",
    }
)
_LAST_WORDS: Final = 10.0  # seconds for alerts, where no controller is there to deliver them


class Session:
    """The common options of a run, its output, its settings, and its operator."""

    def __init__(
        self,
        command: str,
        *,
        url: str | None = None,
        config: str | None = None,
        environment: str | None = None,
        actor: str | None = None,
        as_json: bool | None = False,
        debug: bool | None = False,
        no_color: bool | None = False,
    ) -> None:
        self.command = command
        self.url = url
        self.config = config
        self.environment = environment
        self.actor = actor
        self.debug = bool(debug)
        self.out = Output(command, as_json=bool(as_json), color=not no_color)

    @property
    def as_json(self) -> bool:
        """Whether data is asked for that programs read."""
        return self.out.as_json

    def settings(self) -> Settings:
        """Resolve the configuration, with this run's options on top. Raises ConfigError.

        What takes exposure away is not stopped by a mistake in a policy that it doesn't ask.
        """
        from downhaul.control import service  # noqa: PLC0415  (pydantic)

        found = service.resolve_settings(
            url=self.url,
            file=self.config,
            environment=self.environment,
            whatever_policy=self.command in _ASK_NO_POLICY,
        )
        if service.UNREADABLE_POLICY in found.notes:
            self.out.warning(service.UNREADABLE_POLICY)
        return found

    @contextmanager
    def operator(self, *, create: bool = False) -> Iterator[Operator]:
        """Give an operator on what is configured; ``create`` makes a missing embedded store."""
        from downhaul.control.service import connect_operator  # noqa: PLC0415  (SQLAlchemy)

        with _to_its_end(
            connect_operator(self.settings(), actor=self.actor, create=create)
        ) as operator:
            yield operator

    @contextmanager
    def local_operator(self) -> Iterator[Operator]:
        """Give an operator for this machine's kill file, which needs no backend."""
        from downhaul.control.service import local_operator  # noqa: PLC0415  (pydantic)

        with _to_its_end(
            local_operator(
                url=self.url, file=self.config, environment=self.environment, actor=self.actor
            )
        ) as operator:
            yield operator

    def fail(self, error: DownhaulError) -> None:
        """Say what failed, where, and what to do; for programs as a document of its own."""
        self.out.error(str(error))
        if self.as_json:
            self.out.json({"error": _error_data(error)})


@contextmanager
def _to_its_end(operator: Operator) -> Iterator[Operator]:
    """Give an operator, and leave it time at the end to tell people what it did."""
    try:
        yield operator
    finally:
        operator.close(_LAST_WORDS)


def _error_data(error: DownhaulError) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "exit_code": int(exit_of(error)),
    }
    for name in ("hint", "flag", "provider", "origin"):
        value = getattr(error, name)
        if value is not None:
            data[name] = value
    if isinstance(error, VersionConflict):
        data |= {"expected": error.expected, "found": error.found}
    problems = getattr(error, "problems", ())
    if problems:
        data["problems"] = [
            {"path": one.path, "message": one.message, "origin": one.origin, "hint": one.hint}
            for one in problems
        ]
    return data
