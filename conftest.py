"""What the tests of every distribution here share: depths of search, fixtures, run documents."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

pytest_plugins = [
    "fixtures_plugins",
    "fixtures_postgres",
    "fixtures_prometheus",
    "fixtures_unleash",
    "pytester",
]

# How far properties search. `make test-all` sets `long`; a deadline would only measure the machine.
settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile(
    "long", max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("DOWNHAUL_HYPOTHESIS_PROFILE", "default"))

_NEEDS_POSTGRES = {"_shared_postgres", "own_postgres"}
_NEEDS_UNLEASH = {"_shared_unleash", "own_unleash"}
_NEEDS_PROMETHEUS = {"_shared_prometheus", "own_prometheus"}


def _enter_empty_folder(namespace: dict[str, Any]) -> None:
    namespace["__origin__"] = Path.cwd()
    namespace["__folder__"] = tempfile.mkdtemp(prefix="downhaul-snippets-")
    os.chdir(namespace["__folder__"])


def _leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["__origin__"])
    shutil.rmtree(namespace["__folder__"])


@pytest.fixture(autouse=True)
def _alerts_end_with_their_test() -> Iterator[None]:
    """A sink that is tried again later would be told in the middle of another test."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("downhaul-alerts-"):
            thread.join(1)
            if thread.is_alive():
                pytest.fail(f"{thread.name} goes on telling after the test")


# Python in the README and in docs/ runs, each document in an empty folder of its own. A block that
# cannot run stands below `<!--- skip: next -->`.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    setup=_enter_empty_folder,
    teardown=_leave_folder,
).pytest()


@pytest.hookimpl(tryfirst=True)  # before -m looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what can be seen: tests that ask for a server, blocks of one document."""
    for item in items:
        if _NEEDS_POSTGRES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.postgres)
        if _NEEDS_UNLEASH.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)  # a server of Node, which takes its time
        if _NEEDS_PROMETHEUS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)  # scrapes take their time
        if isinstance(item, SybilItem):
            # The blocks of a document build on one another: one worker runs them, in order.
            item.add_marker(pytest.mark.xdist_group(item.path.name))
