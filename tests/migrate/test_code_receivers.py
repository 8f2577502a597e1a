"""Which calls are counted, and how sure that is."""

import sys

import pytest

PROVEN = {
    "assigned": "from downhaul import Flags\nflags = Flags.connect()\nflags.is_enabled('k')",
    "under another name": (
        "from downhaul import Flags as F\nimport downhaul as d\n"
        "flags = d.Flags.in_memory([])\nflags.is_enabled('k')"
    ),
    "from where it lives": (
        "from downhaul.client.flags import Flags\nFlags.over(p).is_enabled('k')"
    ),
    "entered": (
        "from downhaul import Flags\nwith Flags.connect() as flags:\n    flags.is_enabled('k')"
    ),
    "awaited": (
        "from downhaul import Flags\nasync def f():\n"
        "    async with await Flags.aconnect() as flags:\n        flags.is_enabled('k')"
    ),
    "with a context": (
        "from downhaul import Flags\nflags = Flags.connect().with_context({'a': 1})\n"
        "flags.with_context('b').is_enabled('k')"
    ),
    "a parameter": "from downhaul import Flags\ndef f(flags: Flags):\n    flags.is_enabled('k')",
    "a parameter by text": (
        "from __future__ import annotations\nfrom downhaul import Flags\n"
        "def f(*, flags: 'Flags | None' = None):\n    flags.is_enabled('k')"
    ),
    "an annotated dependency": (
        "from typing import Annotated, Optional\nimport downhaul\n"
        "def f(flags: Annotated[Optional[downhaul.Flags], Depends(g)]):\n    flags.is_enabled('k')"
    ),
    "a declared name": ("from downhaul import Flags\nflags: Flags = make()\nflags.is_enabled('k')"),
    "an attribute": (
        "from downhaul import Flags\nclass S:\n    def __init__(self):\n"
        "        self.flags = Flags.connect()\n    def f(self):\n        self.flags.is_enabled('k')"
    ),
    "an attribute of a parameter": (
        "from downhaul import Flags\nclass S:\n    def __init__(self, flags: Flags):\n"
        "        self._flags = flags\n    def f(self):\n"
        "        return [1 for _ in x if self._flags.is_enabled('k')]"
    ),
    "a field": (
        "from dataclasses import dataclass\nfrom downhaul import Flags\n@dataclass\nclass S:\n"
        "    flags: Flags\n    def f(self):\n        self.flags.is_enabled('k')"
    ),
    "a field of another object": (
        "from downhaul import Flags\nclass S:\n    flags: Flags\ndef f(s: S):\n"
        "    s.flags.is_enabled('k')\n"
    ),
    "inherited": (
        "from downhaul import Flags\nclass A:\n    flags = Flags.connect()\nclass B(A):\n"
        "    def f(self):\n        self.flags.is_enabled('k')"
    ),
    "a property": (
        "from functools import cached_property\nfrom downhaul import Flags\nclass S:\n"
        "    @cached_property\n    def flags(self):\n        return Flags.connect()\n"
        "    def f(self):\n        self.flags.is_enabled('k')"
    ),
    "returned": (
        "from downhaul import Flags\ndef flags():\n    return Flags.connect()\n"
        "flags().is_enabled('k')"
    ),
    "promised": ("from downhaul import Flags\ndef flags() -> Flags: ...\nflags().is_enabled('k')"),
    "yielded": (
        "from contextlib import contextmanager\nfrom downhaul import Flags\n@contextmanager\n"
        "def flags():\n    yield Flags.connect()\nwith flags() as f:\n    f.is_enabled('k')"
    ),
    "global": (
        "from downhaul import Flags\nflags = None\ndef start():\n    global flags\n"
        "    flags = Flags.connect()\ndef f():\n    flags.is_enabled('k')"
    ),
    "one or the other": (
        "from downhaul import Flags\ndef f(x=None):\n    flags = x or Flags.connect()\n"
        "    flags.is_enabled('k')"
    ),
    "cast": ("from typing import cast\nfrom downhaul import Flags\ncast(Flags, x).is_enabled('k')"),
    "of a class of one's own": (
        "from downhaul import Flags\nclass Mine(Flags):\n    def f(self):\n"
        "        super().is_enabled('k')\n"
    ),
    "of an object of one's own": (
        "from downhaul import Flags\nclass Mine(Flags): ...\nMine(engine).is_enabled('k')"
    ),
    "another name for the method": (
        "from downhaul import Flags\non = Flags.connect().is_enabled\non('k')"
    ),
    "a method on an object": (
        "from downhaul import Flags\nclass S:\n    def __init__(self):\n"
        "        self.on = Flags.connect().is_enabled\n    def f(self):\n        self.on('k')"
    ),
    "by its class": "from downhaul import Flags\nFlags.is_enabled(flags, 'k')",
    "a type with a name": (
        "from typing import Annotated\nfrom downhaul import Flags\n"
        "Asked = Annotated[Flags, Depends(get)]\nMaybe = Asked | None\n"
        "def f(flags: Maybe):\n    flags.is_enabled('k')"
    ),
    "imported in the function": (
        "def f():\n    from downhaul import Flags\n    Flags.connect().is_enabled('k')"
    ),
    "imported for types only": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from downhaul import Flags\n"
        "def f(flags: 'Flags'):\n    flags.is_enabled('k')"
    ),
    "in a closure": (
        "from downhaul import Flags\ndef f():\n    flags = Flags.connect()\n"
        "    def g():\n        nonlocal_ = lambda: flags.is_enabled('k')"
    ),
    "in a loop": (
        "from downhaul import Flags\na = Flags.connect()\n"
        "for one in (a, a):\n    one.is_enabled('k')"
    ),
}


@pytest.mark.parametrize("code", PROVEN.values(), ids=PROVEN)
def test_a_receiver_is_followed_to_the_sdk(one, code):
    found = one(f"{code}\n")
    assert (found.sdk, found.keys, found.certainty.value) == ("downhaul", ("k",), "proven")


def test_a_receiver_is_followed_through_modules(scan):
    found = scan(
        {
            "app/__init__.py": "",
            "app/flags.py": "import ldclient\nclient = ldclient.get()\ndef get(): return client\n",
            "app/a.py": "from app.flags import client\nclient.variation('a', u, 1)\n",
            "app/b.py": "from .flags import get\nget().variation('b', u, 1)\n",
            "app/c.py": "from app import flags as f\nf.client.variation('c', u, 1)\n",
            "app/d.py": "import app.flags\napp.flags.get().variation('d', u, 1)\n",
            "app/e.py": "from .a import *\nclient.variation('e', u, 1)\n",
        }
    )
    assert [(one.keys, one.certainty.value) for one in found] == [
        ((key,), "proven") for key in "abcde"
    ]


def test_a_method_that_got_another_name_is_followed_through_modules(scan):
    found = scan(
        {
            "app/__init__.py": "",
            "app/flags.py": "from downhaul import Flags\non = Flags.connect().is_enabled\n",
            "app/view.py": """
                from app import flags
                from app.flags import on as is_on
                is_on('a')
                flags.on('b')
            """,
        }
    )
    assert [one.keys for one in found] == [("a",), ("b",)]


def test_distinct_methods_are_likely_wherever_they_are_called(scan):
    found = scan(
        """
        def f(client, request):
            client.variation_detail("a", user, False)
            client.get_treatment(user, "b")
            client.get_boolean_value("c", True)
            helpers.flag_is_active(request, "d")
        """
    )
    assert [(one.sdk, one.keys, one.certainty.value) for one in found] == [
        ("launchdarkly", ("a",), "likely"),
        ("split", ("b",), "likely"),
        ("openfeature", ("c",), "likely"),
        ("waffle", ("d",), "likely"),
    ]


CALLS = """
def f(client):
    client.is_enabled("a")
    client.value("b", user, 1)
    client.variation("c", user, 1)
    client.get_variant("d")
"""


@pytest.mark.parametrize(
    "start, keys",
    [
        ("", []),
        ("import logging", []),
        ("from downhaul import Flag", ["a", "b"]),
        ("import ldclient", ["c"]),
        ("from UnleashClient import cache", ["a", "d"]),
    ],
)
def test_other_methods_are_likely_only_where_the_sdk_is_imported(scan, start, keys):
    found = scan(f"{start}\n{CALLS}")
    assert [one.keys[0] for one in found] == keys
    assert {one.certainty.value for one in found} <= {"likely"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is Python 3.12's")
def test_a_type_statement_names_a_type(one):
    start = "from downhaul import Flags\ntype Asked = Flags | None\n"
    assert one(f"{start}def f(flags: Asked):\n    flags.is_enabled('k')\n").keys == ("k",)


def test_a_method_that_is_overridden_is_the_one_that_is_called(scan):
    found = scan(
        """
        from downhaul import Flags

        class Mine(Flags):
            def is_enabled(self, flag):
                return super().is_enabled("mine-" + flag)

        class Other(Flags): ...

        class Further(Other):
            def is_enabled(self, flag): ...

        Mine(engine).is_enabled("a")
        def f(one: Other):
            one.is_enabled("b")
        """
    )
    assert [one.keys or one.dynamic for one in found] == ['"mine-" + flag', ("b",)]


def test_what_only_says_what_others_are_like_settles_nothing(scan):
    found = scan(
        """
        from typing import Protocol

        class Asks(Protocol):
            def is_enabled(self, key: str) -> bool: ...
            def get_boolean_value(self, key: str, default: bool) -> bool: ...

        def f(flags: Asks):
            flags.is_enabled("a")
            flags.get_boolean_value("b", True)
        """
    )
    assert [one.keys for one in found] == [("b",)]
    assert {one.keys for one in found.possible} == {("a",)}


def test_a_text_that_is_asked_for_without_an_sdk_at_hand_is_possible_and_no_reference(scan):
    found = scan(
        """
        import openfeature
        from django.conf import settings

        class Button:
            def is_enabled(self, name): ...

        settings.client.is_enabled("a")
        settings.client.is_enabled(settings.key)
        settings.client.variation("b", user, False)
        Button().is_enabled("mine")
        enum.value("x")
        """
    )
    assert not found.references
    assert [(one.sdk, one.keys) for one in found.possible] == [
        ("downhaul", ("a",)),
        ("unleash", ("a",)),
        ("launchdarkly", ("b",)),
    ]


def test_an_sdk_that_is_itself_among_the_scanned_is_known(scan):
    found = scan(
        {
            "waffle/__init__.py": "def flag_is_active(request, flag_name, read_only=False): ...\n",
            "ldclient/__init__.py": "from .client import *\nfrom . import client\n",
            "ldclient/client.py": "class LDClient:\n    def variation(self, key, c, d): ...\n",
            "app.py": """
                import waffle
                from ldclient import *
                waffle.flag_is_active(request, "a")
                client.LDClient(config).variation("b", user, 1)
            """,
        }
    )
    assert [(one.keys, one.certainty.value) for one in found] == [
        (("a",), "proven"),
        (("b",), "proven"),
    ]


def test_all_names_of_an_sdk_may_be_imported_at_once(scan):
    found = scan(
        """
        from ldclient import *
        from waffle import *
        flag_is_active(request, "a")
        client.LDClient(config).variation("b", user, 1)
        print("c")
        """
    )
    assert [(one.keys, one.certainty.value) for one in found] == [
        (("a",), "proven"),
        (("b",), "proven"),
    ]


def test_a_call_that_may_be_of_two_sdks_is_listed_for_each(scan):
    found = scan(
        """
        import UnleashClient
        import downhaul
        def f(client):
            client.is_enabled("either")
            client.is_enabled("ours", default=True)
            client.is_enabled("theirs", fallback_function=g)
        """
    )
    assert [(one.sdk, one.keys[0]) for one in found] == [
        ("downhaul", "either"),
        ("unleash", "either"),
        ("downhaul", "ours"),
        ("unleash", "theirs"),
    ]


NOT_CALLS = {
    "a method of one's own": (
        "class Button:\n    def is_enabled(self, name): ...\nButton().is_enabled('k')\n"
    ),
    "a method of a parameter": (
        "class Button:\n    def variation_detail(self, *a): ...\n"
        "def f(b: Button):\n    b.variation_detail('k', u, 1)\n"
    ),
    "a function of one's own": "def flag_is_active(request, name): ...\nflag_is_active(r, 'k')\n",
    "another count of arguments": (
        "def f(box):\n    box.value()\n    box.value('k')\n    box.variation('k')\n"
        "    box.is_enabled()\n"
    ),
    "other keywords": "def f(box):\n    box.value('k', 1, 2, colour=3)\n    box.evaluate(x='k')\n",
    "no text as a key": "def f(box):\n    box.value(1, 2, 3)\n    box.evaluate({'a': 1})\n",
    "no call": "def f(box):\n    return box.is_enabled\n",
    "an everyday name": "def f(b):\n    b.override(k=1)\n    b.get('k')\n    b.read('k', 1, 2)\n",
    "a name in a text": "text = \"flags.is_enabled('k')\"  # flags.is_enabled('k')\n",
    "a function of an unknown name": "is_enabled('k')\nget_treatment(user, 'k')\n",
}


@pytest.mark.parametrize("code", NOT_CALLS.values(), ids=NOT_CALLS)
def test_what_is_something_else_is_not_counted(scan, code):
    assert not list(scan(f"import downhaul, ldclient\n{code}"))


def test_a_method_that_is_passed_on_goes_with_the_arguments_after_it(scan):
    found = scan(
        """
        from functools import partial
        from downhaul import Flags
        flags = Flags.connect()

        async def f(pool):
            ask = partial(flags.is_enabled, "a", default=True)
            await to_thread(flags.value, "b", user, 3)
            pool.submit(flags.is_enabled, "c")
            map(flags.is_enabled, keys)
            on = flags.is_enabled
            table = {"check": flags.evaluate}
            return on
        """
    )
    assert [(one.keys, one.dynamic, one.default.value) for one in found] == [
        (("a",), None, True),
        (("b",), None, 3),
        (("c",), None, False),
        ((), "map(flags.is_enabled, keys)", False),
        ((), "flags.evaluate", None),
        ((), "on", False),
    ]


def test_a_place_is_where_the_name_of_the_call_stands(scan):
    found = scan(
        "from downhaul import Flags\n"
        "class A:\n"
        "    async def f(self, flags: Flags):\n"
        "        'ü' and flags.is_enabled('a'); (flags\n"
        "            .is_enabled('b'))\n"
        "        def g(): return [flags.is_enabled('c') for _ in x]\n"
        "lambda f=Flags.connect(): f.is_enabled('d')\n"
    )
    assert [(one.place, one.function) for one in found] == [
        ("main.py:4:23", "A.f"),
        ("main.py:5:14", "A.f"),
        ("main.py:6:32", "A.f.<locals>.g"),
        ("main.py:7:29", "<lambda>"),
    ]
