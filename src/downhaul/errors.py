"""Every error that Downhaul raises, as one tree.

    DownhaulError
    ├── ConfigError            a setting is missing, unknown or wrong; lists every problem at once
    ├── DocumentError          a flag document is refused, whole, with every problem and its path
    ├── InvalidContext         what was passed as a context cannot be read as one
    ├── ProviderError          a backend could not do what it was asked
    │   ├── ProviderNotFound   no installed plugin answers to this scheme
    │   ├── FlagNotFound       the flag (or segment) does not exist there
    │   ├── VersionConflict    somebody else changed it since it was read
    │   ├── ReadOnly           this provider, or this stack of wrappers, takes no writes
    │   ├── UnsupportedCapability   the backend does not declare what the call needs
    │   └── Unreachable        the backend did not answer, or answered with a failure of its own
    │       ├── SchemaMissing  the database answers, but its tables are not there or too old
    │       └── NoRight        the database answers, and does not let this user
    └── Refused                the write is understood and must not happen; says which rule forbids

Evaluation raises none of these: it answers with the caller's default and an error code
(:class:`downhaul.result.ErrorCode`). They are for configuration, writing and importing.

Each carries ``hint``, the sentence that says what to do, and the fields that say where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DownhaulError(Exception):
    """Base of all errors of this package. ``str()`` gives the message and, where known, the fix."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        flag: str | None = None,
        provider: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.flag = flag
        self.provider = provider
        self.origin = origin

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        fix = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{fix}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document or a configuration.

    ``origin`` is where it was written (``downhaul.toml:7``, ``env DOWNHAUL_URL``), ``path`` the
    field (``flags[3].rules[0].clauses[1].values``), ``hint`` what to do about it.
    """

    path: str
    message: str
    origin: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        parts = [part for part in (self.origin, self.path) if part]
        fix = f" ({self.hint})" if self.hint else ""
        return f"{'  '.join(parts)}{'  ' if parts else ''}{self.message}{fix}"


class _WithProblems(DownhaulError):
    """An error that lists every problem at once, because fixing them one by one wastes time."""

    def __init__(
        self,
        message: str,
        problems: Sequence[Problem] = (),
        *,
        hint: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, origin=origin)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [super().__str__(), *(f"  {problem}" for problem in self.problems)]
        return "\n".join(lines)


class ConfigError(_WithProblems):
    """A setting is missing, unknown or wrong. ``problems`` lists all of them."""


class DocumentError(_WithProblems):
    """A flag document is refused, whole. ``problems`` lists every one with its path."""


class InvalidContext(DownhaulError):
    """What was passed as a context cannot be read as one."""


class ProviderError(DownhaulError):
    """A backend could not do what it was asked."""


class ProviderNotFound(ProviderError):
    """No installed plugin answers to this scheme."""


class FlagNotFound(ProviderError):
    """The flag, or segment, does not exist at the provider."""


class VersionConflict(ProviderError):
    """The flag changed since it was read: ``expected`` is not ``found``. Nothing was written."""

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = "read it again and repeat the change on what is there now",
        flag: str | None = None,
        provider: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, flag=flag, provider=provider)
        self.expected = expected
        self.found = found


class ReadOnly(ProviderError):
    """This provider takes no writes."""


class UnsupportedCapability(ProviderError):
    """The backend does not declare the capability that the call needs. Nothing was changed."""

    def __init__(self, capability: str, *, provider: str, hint: str | None = None) -> None:
        super().__init__(
            f'provider "{provider}" does not support {capability}', hint=hint, provider=provider
        )
        self.capability = capability


class Unreachable(ProviderError):
    """The backend did not answer, or answered with a failure of its own."""


class SchemaMissing(Unreachable):
    """The database answers, but Downhaul's tables are not there, or are older than this code."""


class NoRight(Unreachable):
    """The database answers, and gives whoever asks no right to what was asked. Nothing was done."""


class Refused(DownhaulError):
    """The write is understood and must not happen; the message names the rule in the way."""
