"""The contract bound to what reads flags of a team's own: files, variables and tables."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from downhaul.backends.inhouse.environment import EnvironmentProvider
from downhaul.backends.inhouse.options import EnvironmentOptions, PlainOptions
from downhaul.backends.inhouse.plain import PlainFileProvider
from downhaul.config import resolve
from downhaul.flag import WHOLE, Flag, FlagKind, FlagSet, Split
from downhaul.plugins import build_provider
from downhaul.provider import FlagProvider
from downhaul_contract_tests.backend import Backend, Feature
from downhaul_contract_tests.bindings import IN_ONE_PROCESS, NO_VERSIONS, FileBackend, OneFile
from downhaul_contract_tests.contract import ProviderContract

Row = tuple[object, ...]

A_ROW: Final[Mapping[Feature, str]] = {
    Feature.VALUES: "a row names no variants",
    Feature.RULES: "a row has no rules",
    Feature.PREREQUISITES: "a row names no other flag",
    Feature.SEVERAL_KINDS: "a row knows users only",
    Feature.EVERY_FIELD: "a row has the columns that it has",
}
ON_OR_OFF: Final[Mapping[Feature, str]] = {
    **A_ROW,
    Feature.TEXTS: "a flag is on or off",
    Feature.NUMBERS: "a flag is on or off",
    Feature.OBJECTS: "a flag is on or off",
    Feature.DENY: "nobody can be left out by name",
    Feature.TAGS: "a flag has no tags",
}
TABLE_COLUMNS: Final = (
    *("key", "enabled", "percentage", "whitelist", "blacklist", "value", "off_value", "kind"),
    *("description", "owner", "tags"),
)
_HOW: Final[Mapping[str, Any]] = {"enabled_means": "switch", "bucketing": "downhaul"}


class PlainBackend(FileBackend):
    """A file of a team's own, with a table for each flag."""

    def provider(self) -> FlagProvider:
        """Return another process's view of the file."""
        return PlainFileProvider(self.path, PlainOptions(poll=0.02, **_HOW))

    def rendered(self, flags: FlagSet) -> str:
        """Return the file: what is not said is left out."""
        return json.dumps({key: _said(flag) for key, flag in flags.flags.items()})


class EnvironmentBackend(Backend):
    """Variables of this process, which every provider reads when it starts."""

    def __init__(self) -> None:
        self._environ: dict[str, str] = {}

    def provider(self) -> FlagProvider:
        """Return a provider on them."""
        options = EnvironmentOptions(separator="-", **_HOW)
        return EnvironmentProvider("CONTRACT_FLAG_", options, self._environ)

    def seed(self, flags: FlagSet) -> None:
        """Set these variables, and no others."""
        self.reset()
        for flag in flags.flags.values():
            self.change(flag)

    def reset(self) -> None:
        """Set none."""
        self._environ.clear()

    def change(self, flag: Flag) -> None:
        """Set one variable."""
        name = flag.key.upper().replace("-", "_")
        self._environ[f"CONTRACT_FLAG_{name}"] = _variable(flag)


class TablesBackend(OneFile):
    """Tables of a team's own in an SQLite file, which SQL writes.

    ``tables`` are their columns, and ``rows`` what a flag is in them.
    """

    scheme: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    tables: ClassVar[Mapping[str, tuple[str, ...]]]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "app.db")

    def rows(self, flag: Flag) -> Iterable[tuple[str, Row]]:
        """Return a flag as rows, each with its table."""
        raise NotImplementedError

    def provider(self) -> FlagProvider:
        """Return another process's view of the tables."""
        url = f"{self.scheme}+sqlite:///{self.path}"
        options = {"url": url, "poll": 0.02, **self.options}
        return build_provider(resolve({"provider": options}, cache_dir=False, environ={}))

    def write(self, flags: FlagSet) -> None:
        """Write all rows anew, in one transaction."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("BEGIN")
            for table, columns in self.tables.items():
                names = ", ".join(f'"{one}"' for one in columns)
                connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({names})')
                connection.execute(f'DELETE FROM "{table}"')  # noqa: S608  (names of this module)
            for table, row in (each for one in flags.flags.values() for each in self.rows(one)):
                marks = ", ".join("?" * len(row))
                connection.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)  # noqa: S608


class TableBackend(TablesBackend):
    """The guide's table, with a column for all that one can have."""

    scheme = "table"
    options: ClassVar = {**_HOW, "columns": {one: one for one in TABLE_COLUMNS}}
    tables: ClassVar = {"feature_flags": TABLE_COLUMNS}

    def rows(self, flag: Flag) -> Iterable[tuple[str, Row]]:
        """Return the flag's one row."""
        yield "feature_flags", row_of(flag)


class FlipperBackend(TablesBackend):
    """Flipper's two tables."""

    scheme = "flipper"
    tables: ClassVar = {
        "flipper_features": ("key",),
        "flipper_gates": ("feature_key", "key", "value"),
    }

    def rows(self, flag: Flag) -> Iterable[tuple[str, Row]]:
        """Return the feature and its gates; one that is off has none."""
        yield "flipper_features", (flag.key,)
        if flag.on:
            for gate, value in _gates(flag):
                yield "flipper_gates", (flag.key, gate, value)


class WaffleBackend(TablesBackend):
    """django-waffle's flags, and the users whom they name."""

    scheme = "waffle"
    options: ClassVar = {"users": "username", "switches": "", "samples": ""}
    tables: ClassVar = {
        "waffle_flag": (
            *("id", "name", "everyone", "percent", "superusers", "staff", "authenticated"),
            *("languages", "note"),
        ),
        "waffle_flag_users": ("flag_id", "user_id"),
        "waffle_flag_groups": ("flag_id", "group_id"),
        "auth_group": ("id", "name"),
        "auth_user": ("id", "username"),
    }

    def rows(self, flag: Flag) -> Iterable[tuple[str, Row]]:
        """Return the flag, and its users."""
        users = _users(flag)
        percent = _percent(flag)
        everyone: bool | None = flag.on if not flag.on or percent in (None, 100.0) else None
        number = _id(flag.key)
        row = (number, flag.key, everyone, percent or None, False, False, False, "")
        yield "waffle_flag", (*row, flag.description)
        for user in users:
            yield "auth_user", (_id(user), user)
            yield "waffle_flag_users", (number, _id(user))


class TestPlain(ProviderContract):
    """``plain+file:``."""

    lacks: ClassVar = {**A_ROW, **NO_VERSIONS}

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """One file."""
        return PlainBackend(tmp_path)


class TestEnvironment(ProviderContract):
    """``env:``."""

    lacks: ClassVar = {
        **ON_OR_OFF,
        **IN_ONE_PROCESS,
        Feature.TEXTS: "a variable says one text, and none for off",
        Feature.NUMBERS: "0 and 1 are off and on",
        Feature.OBJECTS: "a variable says one object, and none for off",
        Feature.TARGETS: "a variable names no users",
        Feature.ANY_KEYS: "a variable's name has no small letters",
    }

    @pytest.fixture
    def backend(self) -> Backend:
        """Variables of this process."""
        return EnvironmentBackend()


class TestTable(ProviderContract):
    """``table+sqlite:``."""

    lacks = A_ROW

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """One table."""
        return TableBackend(tmp_path)


class TestFlipper(ProviderContract):
    """``flipper+sqlite:``."""

    lacks: ClassVar = {
        **ON_OR_OFF,
        Feature.BUCKETS: "Flipper's own hash says who is in, and leaves out who has no key",
        Feature.TELLS_VERSION: "a feature has no version",
    }

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """Flipper's tables."""
        return FlipperBackend(tmp_path)


class TestWaffle(ProviderContract):
    """``waffle+sqlite:``."""

    lacks = ON_OR_OFF

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """Waffle's tables."""
        return WaffleBackend(tmp_path)


def row_of(flag: Flag) -> Row:
    """Return a flag as a row of the table: a percentage and two lists."""
    said = _said(flag)
    lists = (json.dumps(said.get(one, [])) for one in ("whitelist", "blacklist"))
    values: Iterator[object] = (
        _cell(flag, said[one]) if one in said else None for one in ("value", "off_value")
    )
    named = (flag.kind.value, flag.description, flag.owner, json.dumps(flag.tags))
    return (flag.key, flag.on, said.get("percentage"), *lists, *values, *named)


def _cell(flag: Flag, value: object) -> str:
    return str(value) if flag.kind is FlagKind.STRING else json.dumps(value)


def _said(flag: Flag) -> dict[str, Any]:
    """Return what a table in a file says of a flag."""
    said: dict[str, Any] = {"enabled": flag.on, "kind": flag.kind.value}
    if flag.kind is not FlagKind.BOOLEAN:
        said["value"] = flag.variants[_opened(flag)]
        said["off_value"] = flag.variants[flag.off_variant or _opened(flag)]
    if (percent := _percent(flag)) is not None:
        said["percentage"] = percent
    for target in flag.targets:
        word = "whitelist" if target.variant == _opened(flag) else "blacklist"
        said[word] = sorted(target.keys)
    told = {"description": flag.description, "owner": flag.owner, "tags": list(flag.tags)}
    return said | {word: value for word, value in told.items() if value}


def _variable(flag: Flag) -> str:
    percent = _percent(flag)
    if not flag.on:
        return "off"
    return "on" if percent is None else f"{percent}%"


def _gates(flag: Flag) -> Iterator[tuple[str, str]]:
    percent = _percent(flag)
    if percent in (None, 100.0):
        yield "boolean", "true"
        return
    for user in _users(flag):
        yield "actors", user
    if percent:
        yield "percentage_of_actors", str(percent)


def _users(flag: Flag) -> list[str]:
    """Return who is served the flag by name."""
    return sorted(key for one in flag.targets if one.variant == _opened(flag) for key in one.keys)


def _opened(flag: Flag) -> str:
    return next(name for name in flag.variants if name != flag.off_variant)


def _percent(flag: Flag) -> float | None:
    """Return the percentage of a flag; None where it is for everybody."""
    if isinstance(flag.default, Split):
        weights = {one.variant: one.weight for one in flag.default.weights}
        return weights[_opened(flag)] * 100 / WHOLE
    return 0.0 if flag.default == flag.off_variant else None


def _id(name: str) -> int:
    return int.from_bytes(hashlib.blake2s(name.encode(), digest_size=6).digest(), "big")
