"""The pytest plugin that an application gets with Downhaul: fixtures, markers and options.

It is loaded by every run of pytest where Downhaul is installed. So it imports nothing of Downhaul
until a test asks for it (which would also hide those lines from whoever measures coverage), and a
run that uses nothing of it is left as it was. ``docs/testing-with-flags.md`` tells how to use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from downhaul.client import Flags
    from downhaul.flag import FlagSet
    from downhaul.integrations.pytest_flags import FlagsFixture

_SET, _KILLED, _BOTH = "flags", "flags_killed", "flags_both"
_MARKERS: Final = {
    _SET: "flags(mapping, **values): what flags answer in this test, by value or by variant",
    _KILLED: "flags_killed(*names): what is killed in this test: flags, tag:NAME, switch:NAME or *",
    _BOTH: "flags_both(*flags): run this test twice, with the flags on and with them killed",
}
_STATE: Final = "flags_state"

_file: Final = pytest.StashKey["FlagSet"]()
_watching: Final = pytest.StashKey[Any]()
fixture_of: Final = pytest.StashKey["FlagsFixture"]()
"""Where a test keeps its ``flags``, for whoever looks at the reads after it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, none of which does anything unless it is given."""
    group = parser.getgroup("downhaul", "feature flags (downhaul)")
    group.addoption(
        "--flags-strict",
        action="store_true",
        help="a test fails that reads, or sets, a flag which nobody knows",
    )
    group.addoption(
        "--flags-killed",
        action="store_true",
        help="run all tests with every known flag and switch killed; what a test sets still holds",
    )
    group.addoption(
        "--flags-report",
        action="store_true",
        help="show which variants of which flags the tests saw, and which none saw",
    )
    parser.addini("downhaul_flags_file", "flag document that the `flags` fixture begins with")
    parser.addini("downhaul_flags_strict", "as --flags-strict", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers; watch what is read, where an option asks for it."""
    for line in _MARKERS.values():
        config.addinivalue_line("markers", line)
    strict, report = _strict(config), config.option.flags_report
    if strict or report:
        from downhaul.integrations import pytest_reads  # noqa: PLC0415  (see the module)

        config.stash[_watching] = pytest_reads.watch()
        if strict:
            config.pluginmanager.register(pytest_reads.FailUnknown(), "downhaul-strict")
        if report:
            config.pluginmanager.register(pytest_reads.Report(), "downhaul-report")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the watching."""
    stop = config.stash.get(_watching, None)
    if stop is not None:
        stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make two tests of one that is marked with ``flags_both``."""
    marker = metafunc.definition.get_closest_marker(_BOTH)
    if marker is None:
        return
    if not marker.args or marker.kwargs:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: flags_both takes names of flags")
    if _STATE not in metafunc.fixturenames:
        metafunc.fixturenames.append(_STATE)
    names = ",".join(marker.args)
    ids = [f"{names}=on", f"{names}=killed"]
    metafunc.parametrize(_STATE, ["on", "killed"], ids=ids)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give ``flags`` to the tests that are marked; with one of the options, to all."""
    option = config.option
    every = option.flags_killed or option.flags_report or _strict(config)
    for item in items:
        names: list[str] | None = getattr(item, "fixturenames", None)
        if names is None or "flags" in names:
            continue
        if every or any(mark.name in _MARKERS for mark in item.iter_markers()):
            names.insert(_before_the_test(item, names), "flags")


@pytest.fixture
def downhaul_flags(request: pytest.FixtureRequest) -> Iterator[Flags]:
    """Give the client that ``flags`` stands on. Override it to return your application's own.

    This one is new for each test, over the flags of ``downhaul_flags_file``.
    """
    from downhaul.client import Flags  # noqa: PLC0415  (see the module)

    found = _flags_of_file(request.config)
    with Flags.in_memory(found.flags.values(), found.segments.values()) as client:
        yield client


@pytest.fixture
def flags(request: pytest.FixtureRequest, downhaul_flags: Flags) -> Iterator[FlagsFixture]:
    """Flags that this test alone sets and kills; all of it resets itself.

    ``flags.set("new_checkout", True)``, ``flags.kill("new_checkout")``,
    ``flags.is_enabled("new_checkout", "user-1")``.
    """
    from downhaul.integrations.pytest_flags import FlagsFixture  # noqa: PLC0415  (see the module)

    found = FlagsFixture(downhaul_flags, strict=_strict(request.config))
    try:
        if request.config.option.flags_killed:
            found.kill("*")
        _apply_markers(request.node, found)
        request.node.stash[fixture_of] = found
        yield found
    finally:
        found.close()


def _apply_markers(node: pytest.Item, found: FlagsFixture) -> None:
    for marker in reversed(list(node.iter_markers())):  # the outermost first: the closest wins
        if marker.name == _SET:
            for key, value in {**(marker.args[0] if marker.args else {}), **marker.kwargs}.items():
                found.set(key, value)
        elif marker.name == _KILLED:
            found.kill(*marker.args)
    both = node.get_closest_marker(_BOTH)
    if both is not None:
        state = node.callspec.params[_STATE]  # type: ignore[attr-defined]
        for key in both.args:
            (found.turn_on if state == "on" else found.kill)(key)


def _strict(config: pytest.Config) -> bool:
    return bool(config.option.flags_strict or config.getini("downhaul_flags_strict"))


def _flags_of_file(config: pytest.Config) -> FlagSet:
    from downhaul.documents import format_of, parse_document  # noqa: PLC0415  (see the module)
    from downhaul.errors import DocumentError  # noqa: PLC0415
    from downhaul.flag import FlagSet  # noqa: PLC0415

    if _file not in config.stash:
        named = config.getini("downhaul_flags_file")
        if not named:
            config.stash[_file] = FlagSet()
            return config.stash[_file]
        folder = config.rootpath if config.inipath is None else config.inipath.parent
        path = folder / Path(named)
        try:
            text = path.read_text(encoding="utf-8")
            config.stash[_file] = parse_document(text, format_of(path.name), str(path))
        except (OSError, DocumentError) as error:
            pytest.fail(f"downhaul_flags_file: {error}", pytrace=False)
    return config.stash[_file]


def _before_the_test(item: pytest.Item, names: list[str]) -> int:
    """Return where ``flags`` belongs: before what is made anew for the test, after the rest.

    Something of a longer life must not start its threads inside one test's overrides.
    """
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for index, name in enumerate(names):
        if name in known and known[name][-1].scope == "function":
            return index
    return len(names)
