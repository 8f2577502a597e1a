"""``contract run``: the contract of providers, run on one that is installed.

The suite is pytest's, and a distribution of its own. It runs in a process of its own, so that
nothing of it is imported here and nothing of this process leaks into it; what it found comes back
as its report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.session import Session
from downhaul.errors import DownhaulError
from downhaul.store.diskfile import READABLE, replace_file

if TYPE_CHECKING:
    from downhaul.plugins import Installed

SUITE: Final = "downhaul_contract_tests"
INSTALL: Final = "pip install downhaul-contract-tests"
_URL: Final = "DOWNHAUL_CONTRACT_URL"
_SHOWN: Final = ("passed", "declined", "known_gap", "failed", "skipped")
_ENDS: Final = (0, 1, 5)  # pytest's: all passed, some failed, there was none
_PATIENCE: Final = 30.0  # seconds that an interrupted run has to clean up after itself


@dataclass(frozen=True, slots=True)
class _Bound:
    """A provider, and where its bindings are: for pytest, and as the report calls it."""

    name: str
    package: str
    version: str
    tests: str
    module: str
    shipped: bool
    """In its package, and not in a file of somebody's project."""


@command("contract run", example="downhaul contract run --provider sqlite --report sqlite.json")
@click.option(
    "--provider", required=True, metavar="NAME", help="Which one: see `downhaul providers list`."
)
@click.option(
    "--binding",
    metavar="FILE",
    help="A file of tests that binds it (FILE or FILE::TestClass), instead of its own binding.",
)
@click.option("--report", type=click.Path(dir_okay=False), help="Write the report there, as JSON.")
@click.option("-k", "chosen", metavar="EXPRESSION", help="Only these tests: such a run is PARTIAL.")
def run(
    session: Session, provider: str, binding: str | None, report: str | None, chosen: str | None
) -> None:
    """Run the contract suite on a provider, and show what passed, group by group.

    The provider's own package says how it is bound, or --binding does. --url names the server that
    the binding is to use, where it takes one. Exit code 0 only if all of the contract was run and
    nothing failed.
    """
    bound = _bound(provider, binding)
    found = _document(bound, _run(session, bound, chosen))
    if report is not None:
        replace_file(Path(report), rendered(found).encode(), READABLE)
    if session.as_json:
        session.out.json(found)
    else:
        _show(session, found)
    if not found["passed"]:
        raise CheckFailed(_verdict(found))


def rendered(report: Mapping[str, Any]) -> str:
    """Return a report as the text of a file, with each test on a line of its own."""
    return f"{_laid_out(report, '')}\n"


def _laid_out(value: Any, indent: str) -> str:
    """Return JSON in which whatever holds only plain values is one line."""
    named = isinstance(value, dict)
    held = list(value.values()) if named else value if isinstance(value, list) else []
    if not any(isinstance(one, dict | list) for one in held):
        return json.dumps(value, ensure_ascii=False)
    inner = f"{indent}  "
    names = [f"{json.dumps(name)}: " for name in value] if named else [""] * len(held)
    lines = ",\n".join(
        f"{inner}{name}{_laid_out(one, inner)}" for name, one in zip(names, held, strict=True)
    )
    first, last = "{}" if named else "[]"
    return f"{first}\n{lines}\n{indent}{last}"


# What is to be run


def _bound(name: str, binding: str | None) -> _Bound:
    """Return where a provider's bindings are. Raises DownhaulError where nobody wrote any."""
    from downhaul.plugins.known import WRAPPERS  # noqa: PLC0415  (pluggy)

    if find_spec(SUITE) is None:
        raise DownhaulError("the contract suite is not installed", hint=INSTALL)
    where, contract = _installed(name) if name not in WRAPPERS else _wrapper(name)
    if binding is not None:
        path = binding.partition("::")[0]
        if not Path(path).is_file():
            raise DownhaulError(
                f"--binding {path} is no file", hint="name a file of tests that bind the contract"
            )
        return _Bound(
            name, where.distribution, where.version, binding, Path(path).name, shipped=False
        )
    if contract is None:
        raise DownhaulError(
            f'provider "{name}" of {where.distribution} {where.version} binds no contract',
            hint="write a test class with a fixture `backend`, and name its module in "
            'ProviderSpec(contract="...") or here with --binding FILE: '
            "docs/write-a-provider.md shows how",
            provider=name,
        )
    tests = contract.replace(":", "::")
    return _Bound(name, where.distribution, where.version, tests, contract, shipped=True)


def _installed(name: str) -> tuple[Installed, str | None]:
    from downhaul.plugins import installed, spec_named  # noqa: PLC0415  (pluggy)

    spec = spec_named(name)  # which says what is wrong, where it cannot be used
    where = next(one for one in installed() if one.name == name and one.spec is not None)
    return where, spec.contract


def _wrapper(name: str) -> tuple[Installed, str]:
    from downhaul._version import __version__  # noqa: PLC0415
    from downhaul.plugins import Installed  # noqa: PLC0415  (pluggy)
    from downhaul.plugins.known import WRAPPERS  # noqa: PLC0415

    return Installed(name, "downhaul", __version__), WRAPPERS[name].contract


# Running it


def _run(session: Session, bound: _Bound, chosen: str | None) -> dict[str, Any]:
    """Run pytest aside, show how it goes on stderr, and return its report."""
    with tempfile.TemporaryDirectory(prefix="downhaul-contract-") as folder:
        report = Path(folder) / "report.json"
        words = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        words += [f"--contract-report={report}", "--no-contract-matrix"]
        words += [*_isolation(bound, Path(folder)), bound.tests]
        words += ["-k", chosen] if chosen else []
        # Options of somebody's own would choose a part of the contract without a word. The URL may
        # hold a password, and arguments are everybody's to read.
        environ = {name: one for name, one in os.environ.items() if name != "PYTEST_ADDOPTS"}
        if session.url is not None:
            environ[_URL] = session.url
        code = _wait(subprocess.Popen(words, env=environ, stdout=sys.__stderr__))  # noqa: S603  (ours)
        if not report.exists() or code not in _ENDS:
            raise DownhaulError(
                f"pytest could not run {bound.tests}, and ended with {code}",
                hint="what it says is above",
                provider=bound.name,
            )
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if not found["bindings"]:
        raise DownhaulError(
            f"{bound.tests} has no test class that binds the contract",
            hint="a binding inherits from downhaul_contract_tests.ProviderContract",
            provider=bound.name,
        )
    return found | {"exit_code": code}


def _isolation(bound: _Bound, folder: Path) -> list[str]:
    """Return options that keep a shipped binding apart from the settings of wherever we are."""
    if not bound.shipped:
        return []
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    return ["--pyargs", "--noconftest", "--import-mode=importlib", "-c", str(settings)]


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the run. Ctrl-C reaches it too: it is given time to stop what it started."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _document(bound: _Bound, found: dict[str, Any]) -> dict[str, Any]:
    """Return the report with what pytest doesn't know: whose provider it is, and the verdict."""
    code = found.pop("exit_code")
    home = bound.module.partition(":")[0]
    bindings = [{**one, "binding": f"{home}::{one['name']}"} for one in found["bindings"]]
    provider = {"name": bound.name, "package": bound.package, "version": bound.version}
    head = {name: one for name, one in found.items() if name != "bindings"}
    passed = code == 0 and found["complete"] and not _counted(bindings, "failed")
    return {**head, "passed": passed, "provider": provider, "bindings": bindings}


# Showing it


def _show(session: Session, found: Mapping[str, Any]) -> None:
    provider = found["provider"]
    for one in found["bindings"]:
        session.out.line(
            f"{provider['name']} ({provider['package']} {provider['version']}), {one['name']}, "
            f"suite {one['suite']}"
        )
        rows = [
            [group, *(str(counts[outcome]) for outcome in _SHOWN)]
            for group, counts in one["groups"].items()
        ]
        rows.append(["all", *(str(_counted([one], outcome)) for outcome in _SHOWN)])
        session.out.table(["group", *(name.replace("_", " ") for name in _SHOWN)], rows)
        if one["partial"]:
            named = ", ".join(one["not_run"][:3]) + (", ..." if len(one["not_run"]) > 3 else "")  # noqa: PLR2004
            session.out.line(f"PARTIAL: {len(one['not_run'])} tests were not run whole ({named})")
    for problem in found["problems"]:
        session.out.line(f"FAILED: {problem}")


def _verdict(found: Mapping[str, Any]) -> str:
    """Say why this is no certificate."""
    name = found["provider"]["name"]
    if failed := _counted(found["bindings"], "failed"):
        return f"{name} does not hold the contract: {failed} test{'s'[: failed - 1]} failed"
    if found["problems"]:
        return f"this was no run of the contract: {found['problems'][0]}"
    if not found["complete"]:
        return f"nothing failed, and this was a PARTIAL run: it does not speak for {name}"
    return f"pytest did not end well, although no test of {name} failed: see above"


def _counted(bindings: Iterable[Mapping[str, Any]], outcome: str) -> int:
    return sum(counts[outcome] for one in bindings for counts in one["groups"].values())
