"""What a third party writes: a handful of methods that put its backend into a state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from downhaul.flag import Flag, FlagSet
from downhaul.provider import Change, FlagProvider

if TYPE_CHECKING:
    from downhaul.config import Declaration

CHANGE = Change("contract", "to see whether it holds")
"""In whose name the suite writes."""


class Backend:
    """A backend under test: somewhere that flags live, which the suite may fill and empty.

    Override ``provider``, ``seed`` and ``reset``. Each other method that you override is offered;
    tests that need one that you don't offer are reported as declined. ``patience`` is the seconds
    that the suite waits for what must come, ``secrets`` the texts that must not be seen anywhere.
    """

    patience: float = 20.0
    secrets: tuple[str, ...] = ()

    def provider(self) -> FlagProvider:
        """Return a new provider, not yet started, on the same flags as another process would have.

        A backend that lives in one process gives the same object again.
        """
        raise NotImplementedError

    def seed(self, flags: FlagSet) -> None:
        """Make the backend hold these flags and segments, by whatever way, before it returns."""
        raise NotImplementedError

    def reset(self) -> None:
        """Make the backend hold nothing. Called before every test."""
        raise NotImplementedError

    def change(self, flag: Flag) -> None:
        """Replace one flag, as somebody else would at the backend's own console."""
        raise NotImplementedError

    def outage(self) -> None:
        """Cut the backend off from all providers, those that run and those that will."""
        raise NotImplementedError

    def restore(self) -> None:
        """End the outage. Also called where there is none."""
        raise NotImplementedError

    def declare(self, declarations: Mapping[str, Declaration]) -> None:
        """Take what a configuration would declare of the flags, for providers made from now on."""
        raise NotImplementedError


def offers(backend: Backend, name: str) -> bool:
    """Return whether a backend offers a method: it has one, and not the one above."""
    made = getattr(backend, name, None)
    return made is not None and getattr(type(backend), name, None) is not vars(Backend)[name]


class Feature(StrEnum):
    """What a backend's own model of flags can say. All of it, unless the binding ``lacks`` it."""

    TEXTS = "texts"
    """Flags whose variants are texts."""
    NUMBERS = "numbers"
    """Flags whose variants are numbers, whole ones apart from others."""
    OBJECTS = "objects"
    """Flags whose variants are JSON objects."""
    VALUES = "values"
    """A string variant's value is apart from its name, and may be empty."""
    RULES = "rules"
    """Rules on attributes of the context."""
    TARGETS = "targets"
    """Who is served a variant by name."""
    DENY = "deny"
    """Who is served the off variant by name, whatever the percentage."""
    PREREQUISITES = "prerequisites"
    SEVERAL_KINDS = "several_kinds"
    """Contexts of several kinds."""
    FINE_PERCENTAGES = "fine_percentages"
    """Percentages finer than whole ones, in the backend's own way of splitting."""
    BUCKETS = "buckets"
    """Percentages are the core's: its users, and no answer for who has no key."""
    ANY_KEYS = "any_keys"
    """Any text as the key of a flag."""
    EVERY_FIELD = "every_field"
    """Keeps every field of :class:`downhaul.flag.Flag`, and refuses what is not sound."""
    PROCESSES = "processes"
    """Other processes see the same flags."""
    TAGS = "tags"
    """Tags of flags, in the payload or declared."""
    TELLS_KIND = "tells_kind"
    """The payload says of which kind a flag is. If not, the suite declares it."""
    TELLS_OFF = "tells_off"
    """The payload says which variant a flag serves when it is off. If not, it is declared."""
    TELLS_TAGS = "tells_tags"
    """The payload has the flags' tags. If not, they are declared."""
    TELLS_VERSION = "tells_version"
    """A result says the version of the flag that it came from."""


class Offer(StrEnum):
    """What a binding's :class:`Backend` may offer, or its provider may carry."""

    CHANGE = "change"
    OUTAGE = "outage"
    SECRETS = "secrets"
    DECLARE = "declare"
    CONTROL = "control"
    """The provider keeps kills too: it has an attribute ``control``."""


def write_all(provider: FlagProvider, flags: FlagSet) -> None:
    """Make a provider that writes hold these flags and segments, and no others."""
    there = provider.list()
    for key in (*there.flags, *there.segments):
        remove = provider.delete if key in there.flags else provider.delete_segment
        remove(key, CHANGE)
    for segment in flags.segments.values():
        provider.put_segment(segment, CHANGE)
    for flag in flags.flags.values():
        provider.put(flag, CHANGE)
