"""The emulators as a person runs them: by the vendor's name, with what a configuration needs.

``downhaul emulate`` is the command line of this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul.documents import format_of, parse_document
from downhaul.documents.reading import read_data
from downhaul.errors import DownhaulError, Refused
from downhaul.flag import Flag
from downhaul_emulators.launchdarkly import LaunchDarklyEmulator
from downhaul_emulators.seeding import (
    to_launchdarkly,
    to_split,
    whole_launchdarkly,
    whole_split,
)
from downhaul_emulators.serving import Emulator
from downhaul_emulators.split import SplitEmulator


@dataclass(frozen=True, slots=True)
class Offered:
    """One vendor, and the class that emulates it.

    ``settings`` are the emulator's attributes that stand in ``[provider]`` by the same names,
    ``facts`` what whoever uses the vendor's own SDK or API needs. ``said`` makes a flag of ours a
    document of theirs, ``whole`` a document of theirs one that is complete and sound.
    """

    vendor: str
    emulator: Callable[[int], Emulator]
    settings: tuple[str, ...]
    facts: tuple[str, ...]
    said: Callable[[Flag], dict[str, Any]]
    whole: Callable[[str, Mapping[str, Any]], dict[str, Any]]

    def make(self, host: str, port: int) -> Emulator:
        """Return the emulator, not started; ``port`` 0 takes a free one."""
        made = self.emulator(port)
        made.host = host
        return made

    def facts_of(self, emulator: Emulator) -> dict[str, str]:
        """Return what is to be known of a running emulator, by name."""
        return {name: str(getattr(emulator, name)) for name in self.facts}

    def settings_of(self, emulator: Emulator) -> dict[str, str]:
        """Return what stands in ``[provider]`` of a ``downhaul.toml``."""
        own = {name: str(getattr(emulator, name)) for name in self.settings}
        return {"url": f"{self.vendor}+{emulator.url}", **own}

    def seed(self, emulator: Any, text: bytes, name: str) -> list[str]:
        """Make an emulator hold the flags of a file called ``name``, and return their keys.

        The file is a flag document of ours, or ``{"flags": {KEY: ...}}`` in the vendor's own shape.
        Raises DocumentError for what cannot be read, Refused for what cannot be said there.
        """
        data = read_data(text, format_of(name), name)
        ours = isinstance(data, Mapping) and "downhaul" in data
        if not ours and not _by_key(data):
            raise DownhaulError(
                f"{name} has no flags in it",
                hint='write a flag document ("downhaul": 1), or {"flags": {KEY: ...}} as the '
                "vendor has them",
            )
        if ours:
            found = parse_document(text, format_of(name), name)
            if found.segments:
                raise Refused(
                    f"{name} has segments, which no emulator is seeded with",
                    hint="take them out",
                )
            flags = {key: self.said(flag) for key, flag in found.flags.items()}
        else:
            flags = {key: self.whole(key, one) for key, one in data["flags"].items()}
        emulator.replace(flags)
        return sorted(flags)


def _by_key(data: Any) -> bool:
    flags = data.get("flags") if isinstance(data, Mapping) else None
    return isinstance(flags, Mapping) and all(isinstance(one, Mapping) for one in flags.values())


OFFERED: Final[Mapping[str, Offered]] = {
    one.vendor: one
    for one in (
        Offered(
            "launchdarkly",
            LaunchDarklyEmulator,
            settings=("sdk_key", "admin_token", "admin_url", "project", "environment"),
            facts=("url", "sdk_key", "admin_url", "admin_token", "project", "environment"),
            said=to_launchdarkly,
            whole=whole_launchdarkly,
        ),
        Offered(
            "split",
            SplitEmulator,
            settings=("sdk_key", "admin_token", "admin_url", "workspace", "environment"),
            facts=(
                *("sdk_url", "events_url", "auth_url", "streaming_url", "telemetry_url"),
                *("sdk_key", "admin_url", "admin_token", "workspace", "environment"),
            ),
            said=to_split,
            whole=whole_split,
        ),
    )
}
