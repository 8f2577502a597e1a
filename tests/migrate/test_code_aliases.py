"""Functions of somebody's own around an SDK."""

import pytest

from downhaul.errors import ConfigError
from downhaul.migrate.code import Alias, DefaultKind

WRAPPERS = """
    import ldclient

    def enabled(key, default=False, *, user=None):
        return ldclient.get().variation(key, user, default)

    def always_off(key):
        return ldclient.get().variation(key, None, False)

    class Gate:
        def __init__(self, user):
            self.user = user

        def on(self, key, default=True):
            return enabled(key, default, user=self.user)
"""


def rows(found, sdk="alias"):
    return [
        (one.call, one.keys or one.dynamic, one.default.value) for one in found if one.sdk == sdk
    ]


def test_an_alias_is_found_wherever_it_is_imported_by_position_and_keyword(scan):
    found = scan(
        {
            "myapp/__init__.py": "from myapp.flags import enabled as on\n",
            "myapp/flags.py": WRAPPERS,
            "myapp/a.py": """
                from functools import partial
                import myapp
                import myapp.flags as f
                from .flags import enabled as is_it

                is_it("a", True)
                f.enabled(default=True, key="b")
                myapp.on("c")
                is_it(name_of(x))
                later = partial(is_it, "d", True)
            """,
        },
        aliases=["myapp.flags.enabled:0:1"],
    )
    name = "myapp.flags.enabled"
    assert rows(found) == [
        (name, ("a",), True),
        (name, ("b",), True),
        (name, ("c",), False),
        (name, "name_of(x)", False),
        (name, ("d",), True),
        (name, "key", None),  # in Gate.on, which is no alias
    ]
    assert not found.problems


def test_a_call_inside_of_an_alias_is_not_dynamic_but_says_whose_it_is(scan):
    found = scan(
        {"flags.py": WRAPPERS, "a.py": "from flags import always_off\nalways_off('x')\n"},
        aliases=["flags.enabled:key:default", Alias("flags.always_off"), "flags.Gate.on:0:1"],
    )
    inside = [one for one in found if one.wrapper]
    assert [(one.function, one.wrapper) for one in inside] == [
        ("enabled", "flags.enabled"),
        ("always_off", "flags.always_off"),
        ("Gate.on", "flags.Gate.on"),
    ]
    assert not found.dynamic
    assert {one.path for one in found} == {"a.py", "flags.py"}


def test_an_alias_without_a_default_has_that_of_the_call_inside(scan):
    found = scan(
        {"flags.py": WRAPPERS, "a.py": "from flags import always_off\nalways_off('x')\n"},
        aliases=["flags.always_off:0"],
    )
    (outside,) = found.of("x")
    assert (outside.default.kind, outside.default.value) == (DefaultKind.LITERAL, False)


def test_a_method_is_an_alias_on_objects_of_its_class(scan):
    found = scan(
        {
            "flags.py": WRAPPERS,
            "a.py": """
                from flags import Gate

                class View:
                    def __init__(self, gate: Gate):
                        self.gate = gate

                    def get(self):
                        return self.gate.on("a"), Gate(self).on("b", False), self.other.on("c")
            """,
        },
        aliases=["flags.Gate.on:0:1"],
    )
    assert rows(found) == [("flags.Gate.on", ("a",), True), ("flags.Gate.on", ("b",), False)]


def test_an_alias_that_is_not_scanned_is_known_by_its_import(scan):
    found = scan(
        "from company.flags import on\nimport company.flags\n"
        "on('a', 1)\ncompany.flags.on('b')\non(name='c')\n",
        aliases=["company.flags.on:0:1"],
    )
    name = "company.flags.on"
    assert [(one.call, one.keys or one.dynamic) for one in found] == [
        (name, ("a",)),
        (name, ("b",)),
        (name, "on(name='c')"),
    ]
    assert [one.default.kind.value for one in found] == ["literal", "dynamic", "dynamic"]


def test_a_class_can_be_an_alias(scan):
    found = scan(
        {
            "flags.py": "class Flag:\n    def __init__(self, key, default=False): ...\n",
            "a.py": "from flags import Flag\nNEW = Flag('new', default=True)\nOLD = Flag('old')\n",
        },
        aliases=["flags.Flag:0:1"],
    )
    assert rows(found) == [("flags.Flag", ("new",), True), ("flags.Flag", ("old",), False)]


def test_functions_that_pass_a_parameter_on_are_suggested(scan):
    found = scan({"myapp/__init__.py": "", "myapp/flags.py": WRAPPERS})
    assert found.suggestions == ("myapp.flags.always_off:0", "myapp.flags.enabled:0:1")
    again = scan({}, aliases=found.suggestions)
    assert again.suggestions == ("myapp.flags.Gate.on:0:1",)
    assert not scan({}, aliases=[*found.suggestions, *again.suggestions]).dynamic


def test_a_key_that_is_put_together_inside_of_a_wrapper_stays_dynamic(scan):
    found = scan(
        "import ldclient\ndef on(key):\n    return ldclient.get().variation(f'x-{key}', u, 1)\n",
        aliases=["main.on:0"],
    )
    assert [one.dynamic for one in found] == ["f'x-{key}'"]
    assert not found.suggestions


def test_an_alias_that_names_nothing_is_a_problem(scan):
    found = scan("x = 1\n", aliases=["myapp.flags.enabeld:0"])
    (problem,) = found.problems
    assert problem.origin == 'alias "myapp.flags.enabeld"'
    assert problem.hint


@pytest.mark.parametrize(
    "text",
    ["", "enabled:0", "a.b", "a.b:", "a.b:-1", "a.b:0:1:2", "a..b:0", "a.b:0:x y", "a b.c:0"],
)
def test_an_alias_that_cannot_be_read_says_how_to_write_one(text):
    with pytest.raises(ConfigError, match=r"myapp\.flags\.enabled:0:1"):
        Alias.parse(text)


def test_an_alias_is_read():
    assert Alias.parse("a.b:0") == Alias("a.b", 0)
    assert Alias.parse("a.b.c:key:2") == Alias("a.b.c", "key", 2)
