"""A file of flags as teams have them: ``plain+file:flags.toml``.

A name with a boolean, a text, a number, a list, or a table that says more: ``enabled``,
``percentage``, ``users`` and the like. Followed as :mod:`downhaul.backends.file` follows a document
of ours: a bad file is refused whole, and the last good one kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from downhaul.backends.file import FileProvider, path_in
from downhaul.backends.inhouse.entries import Entries
from downhaul.backends.inhouse.meaning import flag_of
from downhaul.documents.faults import did_you_mean, path_of, quoted
from downhaul.errors import ConfigError, DocumentError
from downhaul.flag import Flag, FlagSet
from downhaul.ledger import Ledger, LedgerEntry, Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import PlainOptions
    from downhaul.config import Settings

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "enabled": ("enabled", "on", "active"),
    "percentage": ("percentage", "percent", "rollout_percentage", "rollout"),
    "whitelist": ("users", "whitelist", "allow"),
    "blacklist": ("blacklist", "deny"),
    "value": ("value",),
    "off_value": ("off_value",),
    "kind": ("kind", "type"),
    "description": ("description",),
    "owner": ("owner",),
    "tags": ("tags",),
}
"""What a table may say, and the words for it."""

_ROLES: Final = {word: role for role, words in _FIELDS.items() for word in words}
_DECIDING: Final = ("enabled", "percentage", "whitelist", "blacklist")
_BOOLEANS: Final = ("true", "false", "on", "off", "yes", "no")


class PlainFileProvider(FileProvider):
    """Flags of a team's own in JSON, TOML or YAML, read-only. ``section`` is a path with dots."""

    name: str = "plain"

    def __init__(self, path: Path, options: PlainOptions, section: str = "") -> None:
        super().__init__(path, **({} if options.poll is None else {"poll": options.poll}))
        self._options = options
        self._section = tuple(section.split(".")) if section else ()

    def export(self) -> Translation:
        """Return the flags as the file has them now. Raises DocumentError for a bad file."""
        return self._translated(self._read())

    def _parse(self, text: bytes, revision: str = "") -> FlagSet:
        return self._translated(text).flag_set(revision)

    def _translated(self, text: bytes) -> Translation:
        from downhaul.documents.reading import format_of, read_data  # noqa: PLC0415  (pydantic)

        origin = str(self.path)
        data = read_data(text, format_of(origin), origin, self._section)
        if not isinstance(data, Mapping):
            message = 'flags are a table of names, such as {"new_checkout": true}'
            raise DocumentError(message, origin=origin)
        return translate(data, self._section, self._options)


def create(settings: Settings) -> PlainFileProvider:
    """Return the provider of ``plain+file:flags.toml?section=features``.

    Raises ConfigError for a URL without a path, or with something else in its query.
    """
    from downhaul.backends.inhouse.options import PlainOptions  # noqa: PLC0415  (pydantic)

    options = PlainOptions(**settings.provider.options)
    url = settings.provider.url
    asked = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    section = asked.pop("section", options.section)
    if asked or (not all(section.split(".")) and section):
        raise ConfigError(
            f'"{settings.provider.safe_url}" asks for more than a section',
            hint="write plain+file:flags.toml?section=features",
            origin=settings.origins.get("provider.url"),
        )
    return PlainFileProvider(path_in(url), options, section)


def translate(
    data: Mapping[str, Any], section: tuple[str, ...], options: PlainOptions
) -> Translation:
    """Return a flag for each name, and the ledger of all that the file says of them."""
    flags: list[Flag] = []
    told: list[LedgerEntry] = []
    for name, said in data.items():
        entries = Entries(name, path_of((*section, name)))
        flag = _flag(said, entries, options)
        flags += [flag] if flag is not None else []
        told += entries.made
    return Translation(tuple(flags), ledger=Ledger(tuple(told)))


def _flag(said: Any, entries: Entries, options: PlainOptions) -> Flag | None:
    if said is None:
        entries.manual("", "null says neither on nor off")
        return None
    if not isinstance(said, Mapping) or not _ROLES.keys() & said.keys():
        return _of_value(said, entries, options)
    row: dict[str, Any] = {}
    columns: dict[str, str] = {}
    for word, value in said.items():
        role = _ROLES.get(word)
        if role is None:
            hint = did_you_mean(word, _ROLES, all_of="known")
            entries.manual(word, f"no field of a flag is called {quoted(word)} ({hint})", value)
        elif role in columns:
            entries.manual(word, f'"{columns[role]}" says the same, and which counts is not', value)
        else:
            row[role], columns[role] = value, word
    if "enabled" not in row and not row.keys() & {*_DECIDING, "value"}:
        entries.manual("", "it says neither on nor off", dict(said))
    if "whitelist" in row and not row.keys() & {"enabled", "percentage"}:
        row["percentage"] = 0  # a list of users alone is not for everybody
    unsaid = options.enabled_by == "switch" or not row.keys() & {"percentage", "whitelist"}
    return flag_of(entries.flag, row, columns, entries, options, unsaid=unsaid)


def _of_value(said: Any, entries: Entries, options: PlainOptions) -> Flag | None:
    """Return the flag of a lone value: a boolean is the switch, all else is what it serves."""
    row = {"enabled": said} if isinstance(said, bool) else {"value": said}
    if isinstance(said, str) and said.strip().endswith("%"):
        row = {"percentage": said}
    elif isinstance(said, str) and said.strip().lower() in _BOOLEANS:
        entries.partial("", "kept as a text: without its quotes it would be a boolean", said)
    columns = dict.fromkeys(row, "")
    return flag_of(entries.flag, row, columns, entries, options, unsaid=True)
