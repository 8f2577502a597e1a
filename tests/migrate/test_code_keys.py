"""Keys and defaults that are told without running the code, and those that are not."""

import pytest

from downhaul.migrate.code import DefaultKind

START = "from downhaul import Flags\nflags = Flags.connect()\n"


def keys_of(scan, code):
    found = scan(f"{START}{code}")
    assert not found.problems
    assert found.references
    return [one.keys if one.dynamic is None else (*one.keys, None) for one in found]


KNOWN = {
    "a literal": ("flags.is_enabled('k')", ["k"]),
    "literals side by side": ("flags.is_enabled('k' 'l')", ["kl"]),
    "a constant": ("KEY = 'k'\nflags.is_enabled(KEY)", ["k"]),
    "a declared constant": ("KEY: Final[str] = 'k'\nflags.is_enabled(KEY)", ["k"]),
    "a constant of a constant": ("A = 'k'\nB = A\nflags.is_enabled(B)", ["k"]),
    "a sum": ("TEAM = 'web'\nflags.is_enabled(TEAM + '-' + 'k')", ["web-k"]),
    "an f-string": ("TEAM = 'web'\nN = 2\nflags.is_enabled(f'{TEAM}-k{N}')", ["web-k2"]),
    "either of two": ("flags.is_enabled('a' if user else 'b')", ["a", "b"]),
    "either of two assignments": (
        "if user:\n    key = 'a'\nelse:\n    key = 'b'\nflags.is_enabled(key)",
        ["a", "b"],
    ),
    "the first that is something": ("A = ''\nflags.is_enabled(A or 'k')", ["k"]),
    "unpacked": ("A, (B, C) = 'a', ('b', 'c')\nflags.is_enabled(C)", ["c"]),
    "unpacked from a constant": ("PAIR = ('a', 'b')\nA, B = PAIR\nflags.is_enabled(B)", ["b"]),
    "in a mapping": ("KEYS = {'x': 'a', 'y': 'b'}\nflags.is_enabled(KEYS['y'])", ["b"]),
    "anywhere in a mapping": (
        "KEYS = {'x': 'a', 'y': 'b'}\nflags.is_enabled(KEYS[user.plan])",
        ["a", "b"],
    ),
    "got from a mapping": (
        "KEYS = {'x': 'a'}\nflags.is_enabled(KEYS.get(user.plan, 'other'))",
        ["a", "other"],
    ),
    "at an index": ("KEYS = ['a', 'b', 'c']\nflags.is_enabled(KEYS[-1])", ["c"]),
    "in a loop": ("for key in ('a', 'b'):\n    flags.is_enabled(key)", ["a", "b"]),
    "in a loop over a constant": (
        "KEYS = ['a', *('b', 'c')]\nfor key in sorted(KEYS):\n    flags.is_enabled(key)",
        ["a", "b", "c"],
    ),
    "in a loop over sums": (
        "for key in ['a'] + ['b']:\n    flags.is_enabled('x-' + key)",
        ["x-a", "x-b"],
    ),
    "in a loop over pairs": (
        "for n, (key, other) in enumerate([('a', f), ('b', g)]):\n    flags.is_enabled(key)",
        ["a", "b"],
    ),
    "in a loop over a mapping": (
        "WHICH = {'a': f, 'b': g}\nfor key in WHICH:\n    flags.is_enabled(key)",
        ["a", "b"],
    ),
    "in a loop over items": (
        "WHICH = {'a': f, 'b': g}\nfor key, do in WHICH.items():\n    flags.is_enabled(key)",
        ["a", "b"],
    ),
    "in a loop over values": (
        "WHICH = {'x': 'a'}\nfor key in WHICH.values():\n    flags.is_enabled(key)",
        ["a"],
    ),
    "in a comprehension": ("on = {k: flags.is_enabled(k) for k in ('a', 'b')}", ["a", "b"]),
    "in two lists at once": (
        "for x, key in zip(users, ['a', 'b']):\n    flags.is_enabled(key)",
        ["a", "b"],
    ),
    "of a class": ("class Keys:\n    K = 'k'\nflags.is_enabled(Keys.K)", ["k"]),
    "of a class above": (
        "class A:\n    K = 'k'\nclass B(A):\n    pass\nflags.is_enabled(B.K)",
        ["k"],
    ),
    "of a text enumeration": (
        "from enum import StrEnum\nclass K(StrEnum):\n    A = 'a'\nflags.is_enabled(K.A)",
        ["a"],
    ),
    "of an automatic one": (
        "import enum as e\nclass K(e.StrEnum):\n    NEW = e.auto()\nflags.is_enabled(f'{K.NEW}-x')",
        ["new-x"],
    ),
    "the value of a member": (
        "from enum import Enum\nclass K(Enum):\n    A = 'a'\nflags.is_enabled(K.A.value)",
        ["a"],
    ),
    "every member": (
        (
            "from enum import Enum\nclass K(Enum):\n    A = 'a'\n    B = 'b'\n"
            "for key in K:\n    flags.is_enabled(key.value)"
        ),
        ["a", "b"],
    ),
    "choices of Django": (
        (
            "from django.db.models import TextChoices\nclass K(TextChoices):\n    A = 'a', 'An A'\n"
            "flags.is_enabled(K.A)"
        ),
        ["a"],
    ),
    "on self": (
        "class View:\n    key = 'k'\n    def get(self):\n        flags.is_enabled(self.key)",
        ["k"],
    ),
    "set on self": (
        (
            "class View:\n    def __init__(self):\n        self.key = 'k'\n"
            "    def get(self):\n        flags.is_enabled(self.key)"
        ),
        ["k"],
    ),
    "of whoever inherits": (
        (
            "class Base:\n    key: str\n    def get(self):\n        flags.is_enabled(self.key)\n"
            "class A(Base):\n    key = 'a'\nclass B(A):\n    key = 'b'"
        ),
        ["a", "b"],
    ),
    "allowed by its type": (
        "def ask(key: Literal['a', 'b']):\n    return flags.is_enabled(key)",
        ["a", "b"],
    ),
    "lowered": ("NAME = 'KEY'\nflags.is_enabled(NAME.lower())", ["key"]),
    "named on the way": ("if (key := 'k') and flags.is_enabled(key):\n    pass", ["k"]),
    "global": ("def set_up():\n    global KEY\n    KEY = 'k'\nflags.is_enabled(KEY)", ["k"]),
    "none until it is known": (
        "key = None\nif user:\n    key = 'k'\nflags.is_enabled(key)",
        ["k"],
    ),
}


@pytest.mark.parametrize("code, keys", KNOWN.values(), ids=KNOWN)
def test_a_key_is_known(scan, code, keys):
    assert keys_of(scan, code) == [tuple(keys)]


UNKNOWN = {
    "a call": ("flags.is_enabled(key_of(user))", "key_of(user)"),
    "a parameter": ("def ask(key):\n    flags.is_enabled(key)", "key"),
    "a parameter with a default": ("def ask(key='k'):\n    flags.is_enabled(key)", "key"),
    "an f-string of a variable": ("flags.is_enabled(f'team-{team}')", "f'team-{team}'"),
    "a format": ("K = 'k'\nflags.is_enabled(f'{K:>9}')", "f'{K:>9}'"),
    "a name that nobody binds": ("flags.is_enabled(KEY)", "KEY"),
    "a list that grows": (
        "KEYS = ['a']\nKEYS.append(x)\nfor key in KEYS:\n    flags.is_enabled(key)",
        "key",
    ),
    "a mapping that grows": (
        "KEYS = {'x': 'a'}\nKEYS['y'] = z\nflags.is_enabled(KEYS['y'])",
        "KEYS['y']",
    ),
    "itself": ("key = key + 'b'\nflags.is_enabled(key)", "key"),
    "each other": ("A = B\nB = A\nflags.is_enabled(A)", "A"),
    "a field of a record": (
        (
            "@dataclass\nclass Gate:\n    key: str = 'k'\n"
            "    def ask(self):\n        flags.is_enabled(self.key)"
        ),
        "self.key",
    ),
    "spread": ("flags.is_enabled(*arguments)", "arguments"),
    "spread by keyword": ("flags.is_enabled(**options)", "options"),
    "an exception": ("try: f()\nexcept E as key: flags.is_enabled(key)", "key"),
    "no text": ("flags.is_enabled(7)", "7"),
    "over several lines": ("flags.is_enabled(\n  key_of(\n    user,\n  )\n)", "key_of( user, )"),
    "not plain": (
        "from enum import Enum\nclass K(Enum):\n    A = 'a'\nflags.is_enabled(f'{K.A}')",
        "f'{K.A}'",
    ),
}


@pytest.mark.parametrize("code, text", UNKNOWN.values(), ids=UNKNOWN)
def test_a_key_that_is_not_known_is_listed_with_its_source(one, code, text):
    found = one(f"{START}{code}\n")
    assert (found.keys, found.dynamic) == ((), text)


PARTLY = {
    "in a loop": ("for key in ('k', other()):\n    flags.is_enabled(key)", "key"),
    "either": ("flags.is_enabled('k' if user else other())", "'k' if user else other()"),
    "or": ("flags.is_enabled(user.key or 'k')", "user.key or 'k'"),
    "assigned twice": ("key = 'k'\nkey = other()\nflags.is_enabled(key)", "key"),
    "changed": ("KEY = 'k'\nKEY += suffix\nflags.is_enabled(KEY)", "KEY"),
    "an attribute": (
        (
            "class A:\n    key = 'k'\n    def f(self):\n        self.key = other()\n"
            "        flags.is_enabled(self.key)"
        ),
        "self.key",
    ),
}


@pytest.mark.parametrize("code, text", PARTLY.values(), ids=PARTLY)
def test_a_key_that_is_known_in_part_is_listed_both_ways(one, code, text):
    found = one(f"{START}{code}\n")
    assert (found.keys, found.dynamic) == (("k",), text)


def test_a_long_source_is_cut(one):
    found = one(f"{START}flags.is_enabled(key_of({'user, ' * 100}))\n")
    assert len(found.dynamic) == 120
    assert found.dynamic.endswith("…")


def test_a_constant_of_a_class_may_be_declared_final_in_a_record(scan):
    code = (
        "@dataclass\nclass Gate:\n    key: ClassVar[str] = 'k'\n"
        "    def ask(self):\n        flags.is_enabled(self.key)"
    )
    assert keys_of(scan, code) == [("k",)]


def test_constants_are_followed_through_modules_packages_and_stars(scan):
    found = scan(
        {
            "app/__init__.py": "from .keys import *\n",
            "app/keys.py": """
                from app.deep.er import DEEP as DEEPER
                KEY = 'k'

                class Keys:
                    A = 'a'
            """,
            "app/deep/__init__.py": "",
            "app/deep/er.py": "DEEP = 'deep'\n",
            "app/views.py": """
            import app.keys as names
            from downhaul import Flags
            from . import KEY
            from .keys import Keys, DEEPER
            import app.deep.er

            def view(flags: Flags):
                flags.is_enabled(KEY)
                flags.is_enabled(names.KEY)
                flags.is_enabled(Keys.A)
                flags.is_enabled(DEEPER)
                flags.is_enabled(app.deep.er.DEEP + "-too")
        """,
        }
    )
    assert [one.keys for one in found] == [("k",), ("k",), ("a",), ("deep",), ("deep-too",)]


def test_a_constant_comes_from_the_nearest_of_several_modules_of_a_name(scan):
    view = "from downhaul import Flags\nfrom keys import KEY\nFlags.connect().is_enabled(KEY)\n"
    found = scan(
        {
            "one/keys.py": "KEY = '1'\n",
            "one/view.py": view,
            "two/keys.py": "KEY = '2'\n",
            "two/view.py": view,
            "other.py": view,
        }
    )
    assert {one.path: one.keys or one.dynamic for one in found} == {
        "one/view.py": ("1",),
        "two/view.py": ("2",),
        "other.py": "KEY",
    }


def test_modules_that_import_one_another_in_a_circle_are_scanned(scan):
    found = scan(
        {
            "a.py": "import downhaul\nfrom b import *\ndownhaul.Flags.connect().is_enabled(KEY)\n",
            "b.py": "from a import *\nfrom c import KEY\n",
            "c.py": "from b import KEY\n",
        }
    )
    assert [one.dynamic for one in found] == ["KEY"]


# Defaults

DEFAULTS = {
    "a constant": ("D = 'x'\nflags.value('k', u, D)", DefaultKind.LITERAL, "x"),
    "a negative number": ("flags.value('k', u, -3)", DefaultKind.LITERAL, -3),
    "nothing": ("flags.evaluate('k', u, None)", DefaultKind.LITERAL, None),
    "not": ("flags.value('k', u, not True)", DefaultKind.LITERAL, False),
    "the same twice": ("flags.value('k', u, 1 if u else 1)", DefaultKind.LITERAL, 1),
    "a mapping": (
        "LIMIT = 3\nflags.value('k', u, {'limit': LIMIT, 'to': ['a', True, None]})",
        DefaultKind.LITERAL,
        {"limit": 3, "to": ["a", True, None]},
    ),
    "a list of constants": ("A = ['x']\nflags.value('k', u, A)", DefaultKind.LITERAL, ["x"]),
    "one of two": ("flags.value('k', u, 1 if u else 2)", DefaultKind.DYNAMIC, None),
    "one and true": ("flags.value('k', u, 1 if u else True)", DefaultKind.DYNAMIC, None),
    "a call": ("flags.value('k', u, default())", DefaultKind.DYNAMIC, None),
    "no data": ("flags.value('k', u, b'x')", DefaultKind.DYNAMIC, None),
    "spread": ("flags.value('k', u, **options)", DefaultKind.DYNAMIC, None),
}


@pytest.mark.parametrize("code, kind, value", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_is_told_if_it_is_one_value(one, code, kind, value):
    found = one(f"{START}{code}\n")
    assert found.keys == ("k",)
    assert (found.default.kind, found.default.value) == (kind, value)
    assert bool(found.default.text) is (kind is DefaultKind.DYNAMIC)


def test_a_fallback_function_counts_if_it_always_returns_one_literal(scan):
    found = scan(
        """
        from UnleashClient import UnleashClient
        client = UnleashClient("u", "a")

        def on(name, context):
            return True

        def depends(name, context):
            if context:
                return True

        def two(name, context):
            if context:
                return False
            return True

        client.is_enabled("a", fallback_function=on)
        client.is_enabled("b", fallback_function=depends)
        client.is_enabled("c", fallback_function=two)
        ON = True
        client.is_enabled("d", fallback_function=lambda name, ON: ON)
        client.is_enabled("e", fallback_function=imported)
        """
    )
    assert [(one.default.kind.value, one.default.value) for one in found] == [
        ("literal", True),
        *[("dynamic", None)] * 4,
    ]
