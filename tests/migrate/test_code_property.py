"""Modules that are made from pieces with known references: the finder finds exactly those."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent

from hypothesis import given
from hypothesis import strategies as st

from downhaul.migrate.code import find_references

HEAD = """\
import ldclient
from downhaul import Flags
from openfeature import api
from splitio import get_factory
from UnleashClient import UnleashClient
from waffle import flag_is_active

C0 = "zero"
C1 = C0 + "-one"
TABLE = {"a": "in-a", "b": C0}


class Names:
    K = "named"


class Button:
    def is_enabled(self, key): return key
    def value(self, key, context, default): return default


flags = Flags.connect()
ld = ldclient.get()
split = get_factory("key").client()
unleash = UnleashClient("url", "app")
of = api.get_client()
button = Button()
"""


@dataclass(frozen=True)
class Expression:
    """Its source, and all values that it can have, or None where that can't be told."""

    source: str
    values: tuple | None


def _sum(one, other):
    known = one.values is not None and other.values is not None
    values = tuple(a + b for a in one.values for b in other.values) if known else None
    return Expression(f"({one.source} + {other.source})", values)


def _either(one, other):
    known = one.values is not None and other.values is not None
    return Expression(
        f"({one.source} if user else {other.source})", one.values + other.values if known else None
    )


TEXTS = st.text("abcdé-_.{}'\"\\ ", min_size=1, max_size=6)
KEYS = st.recursive(
    TEXTS.map(lambda text: Expression(repr(text), (text,)))
    | st.sampled_from(
        [
            Expression("C0", ("zero",)),
            Expression("C1", ("zero-one",)),
            Expression("Names.K", ("named",)),
            Expression("TABLE['a']", ("in-a",)),
            Expression("TABLE[user]", ("in-a", "zero")),
            Expression("f'{C0}/{Names.K}'", ("zero/named",)),
            Expression("key_of(user)", None),
            Expression("user.key", None),
            Expression("f'team-{user}'", None),
        ]
    ),
    lambda inner: st.builds(_sum, inner, inner) | st.builds(_either, inner, inner),
    max_leaves=4,
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
DEFAULTS = DATA.map(lambda value: Expression(repr(value), (value,))) | st.sampled_from(
    [Expression("C0", ("zero",)), Expression("default_of(user)", None), Expression("user.x", None)]
)

# The SDK, the call, the names of its parameters by position, which are the key's and the default's,
# and what stands in for no default.
VERBS = [
    ("downhaul", "flags.is_enabled", ("flag", "context", "default"), "default", False),
    ("downhaul", "flags.value", ("flag", "context", "default"), "default", ...),
    ("launchdarkly", "ld.variation", ("key", "context", "default"), "default", ...),
    ("launchdarkly", "ld.variation_detail", ("key", "context", "default"), "default", ...),
    ("openfeature", "of.get_string_value", ("flag_key", "default_value"), "default_value", ...),
    ("unleash", "unleash.is_enabled", ("feature_name", "context"), None, False),
    ("split", "split.get_treatment", ("key", "feature_flag_name"), None, "control"),
    ("waffle", "flag_is_active", ("request", "flag_name"), None, None),
]
KEY_NAMES = {"flag", "flag_key", "feature_name", "feature_flag_name", "flag_name"}


@st.composite
def references(draw):
    """Draw a statement, and what is to be found in it, but for its place."""
    sdk, call, parameters, default_name, implicit = draw(st.sampled_from(VERBS))
    key_name = next((one for one in parameters if one in KEY_NAMES), "key")
    key, default = draw(KEYS), draw(DEFAULTS)
    has_default = default_name is not None and (implicit is ... or draw(st.booleans()))
    given_ = [one for one in parameters if has_default or one != default_name]
    by_position = draw(st.integers(0, len(given_)))
    sources = {key_name: key.source, default_name: default.source}
    arguments = [sources.get(one, "user") for one in given_[:by_position]]
    named = draw(st.permutations(given_[by_position:]))
    arguments += [f"{one}={sources.get(one, 'user')}" for one in named]
    values = default.values if has_default else (implicit,)
    expected = (
        sdk,
        call.rpartition(".")[2],
        None if key.values is None else tuple(dict.fromkeys(key.values)),
        "dynamic" if values is None else "literal" if has_default else "implicit",
        None if values is None else values[0],
    )
    shape = draw(st.sampled_from(["{}", "x = {}", "if {}: pass", "f(1, [{}])", "y = lambda: {}"]))
    return shape.format(f"{call}({', '.join(arguments)})"), expected


NOISE = st.sampled_from(
    [
        "# flags.is_enabled('comment')",
        "'flags.is_enabled(\"text\")'",
        "button.is_enabled('mine')",
        "x = button.value('mine', user, 1)",
        "print(user.value, flags)",
        "def is_enabled(key): return key",
        '"""\nld.variation("docstring", user, 1)\n"""',
        "getattr(user, 'is_enabled')",
    ]
).map(lambda source: (source, None))

# A frame around a block: source before it, how it is indented, and what it adds to qualified names.
FRAMES = st.sampled_from(
    [
        ("if user:\n", ""),
        ("for n in range(3):\n", ""),
        ("try:\n    pass\nfinally:\n", ""),
        ("with open('x') as file:\n", ""),
        ("def fun(user):\n", "fun"),
        ("async def co(user):\n", "co"),
        ("class Cls:\n", "Cls"),
        ("@decorate\nclass Dec(Button):\n    other = 1\n", "Dec"),
    ]
)


@st.composite
def blocks(draw, depth=3, around=()):
    """Draw a block: its source, and what is to be found, by the line within it."""
    source, expected = "", []
    for _ in range(draw(st.integers(1, 3))):
        line = source.count("\n") + 1
        if depth and draw(st.booleans()):
            head, name = draw(FRAMES)
            inside = (*around, name) if name else around
            text, found = draw(blocks(depth - 1, inside))
            source += f"{head}{indent(text, '    ')}"
            expected += [(line + head.count("\n") + at - 1, *rest) for at, *rest in found]
            continue
        statement, wanted = draw(references() | NOISE)
        source += f"{statement}\n"
        if wanted is not None:
            expected.append(
                (
                    line,
                    _qualified((*around, "<lambda>") if "lambda" in statement else around),
                    *wanted,
                )
            )
        else:
            source += "pass\n"
    return source, expected


def _qualified(names):
    text = ""
    for number, name in enumerate(names):
        inside = text and not names[number - 1][0].isupper()
        text += f".<locals>.{name}" if inside else f".{name}" if text else name
    return text


@given(blocks())
def test_exactly_the_references_that_are_there_are_found(block):
    source, expected = block
    with TemporaryDirectory() as folder:
        Path(folder, "m.py").write_text(HEAD + source)
        found = find_references(folder)
    assert not found.problems
    start = HEAD.count("\n")
    assert [
        (
            one.line - start,
            one.function,
            one.sdk,
            one.call,
            one.keys if one.dynamic is None else None,
            one.default.kind.value,
            one.default.value,
        )
        for one in found
    ] == sorted(expected, key=lambda row: row[0])
    assert {one.certainty.value for one in found} <= {"proven"}
