import importlib
import textwrap

import pytest

# A run inside this one forgets what it imported: what is here already, all of them share.
for name in ("backends.memory", "documents", "integrations.pytest_reads"):
    importlib.import_module(f"downhaul.{name}")

DOCUMENT = """
downhaul: 1
flags:
  - {key: new_checkout, on: true, default: on, tags: [shop]}
  - {key: old_checkout, on: true, default: off, tags: [shop]}
  - key: tone
    kind: string
    variants: {warm: Hello!, curt: Hi., none: ""}
    off_variant: none
    on: true
    default: curt
"""


INI = """
[pytest]
addopts = --strict-markers -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def plain_tests(pytester):
    """Run tests in a project that has no flags."""
    pytester.makeini(INI)

    def run(tests, *options, **files):
        files = {**files, "test_it": tests}
        pytester.makepyfile(**{name: textwrap.dedent(text) for name, text in files.items()})
        return pytester.runpytest_inprocess(*options)

    return run


@pytest.fixture
def run_tests(plain_tests, pytester):
    """Run tests in a project that has a document of flags."""
    pytester.makefile(".yaml", flags=DOCUMENT)
    pytester.makeini(f"{INI}downhaul_flags_file = flags.yaml")
    return plain_tests
