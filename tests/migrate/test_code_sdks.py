"""Calls of every SDK, by position and by keyword, and against the SDKs themselves."""

import inspect

import pytest

from downhaul import Flags
from downhaul.migrate.code import Certainty, Default, DefaultKind
from downhaul.migrate.code.sdks import FUNCTIONS, KINDS

LITERAL, IMPLICIT, NONE = DefaultKind.LITERAL, DefaultKind.IMPLICIT, DefaultKind.NONE

DOWNHAUL = "from downhaul import Flags\nflags = Flags.connect()\n"
LAUNCHDARKLY = "import ldclient\nclient = ldclient.get()\n"
SPLIT = "from splitio import get_factory\nfactory = get_factory('k')\nclient = factory.client()\n"
UNLEASH = "from UnleashClient import UnleashClient\nclient = UnleashClient('u', 'a')\n"
OPENFEATURE = "from openfeature import api\nclient = api.get_client()\n"
WAFFLE = "from waffle import flag_is_active, switch_is_active, sample_is_active\n"

CALLS = [
    (DOWNHAUL, "flags.is_enabled('k')", "downhaul", "is_enabled", IMPLICIT, False),
    (DOWNHAUL, "flags.is_enabled('k', user, True)", "downhaul", "is_enabled", LITERAL, True),
    (DOWNHAUL, "flags.is_enabled(default=True, flag='k')", "downhaul", "is_enabled", LITERAL, True),
    (DOWNHAUL, "flags.value('k', user, 'x')", "downhaul", "value", LITERAL, "x"),
    (DOWNHAUL, "flags.value(context=u, default=7, flag='k')", "downhaul", "value", LITERAL, 7),
    (DOWNHAUL, "flags.evaluate('k')", "downhaul", "evaluate", IMPLICIT, None),
    (DOWNHAUL, "flags.evaluate('k', user, [1])", "downhaul", "evaluate", LITERAL, [1]),
    (DOWNHAUL, "flags.evaluate_many('k', us, 2)", "downhaul", "evaluate_many", LITERAL, 2),
    (DOWNHAUL, "flags.explain('k', user)", "downhaul", "explain", IMPLICIT, None),
    (DOWNHAUL, "flags.choose('k', user, {'on': A})", "downhaul", "choose", NONE, None),
    (DOWNHAUL, "flags.override(k=True)", "downhaul", "override", NONE, None),
    (DOWNHAUL, "flags.override({'k': True})", "downhaul", "override", NONE, None),
    (
        LAUNCHDARKLY,
        "client.variation('k', ctx, False)",
        "launchdarkly",
        "variation",
        LITERAL,
        False,
    ),
    (
        LAUNCHDARKLY,
        "client.variation(default={'a': 1}, key='k', context=c)",
        "launchdarkly",
        "variation",
        LITERAL,
        {"a": 1},
    ),
    (
        LAUNCHDARKLY,
        "client.variation_detail('k', ctx, default=-1.5)",
        "launchdarkly",
        "variation_detail",
        LITERAL,
        -1.5,
    ),
    (
        LAUNCHDARKLY,
        "client.migration_variation('k', ctx, ldclient.Stage.DUALWRITE)",
        "launchdarkly",
        "migration_variation",
        LITERAL,
        "dualwrite",
    ),
    (
        LAUNCHDARKLY,
        "ldclient.MigratorBuilder(client).read(a, b).track_errors(True).build().read('k', c, s)",
        "launchdarkly",
        "read",
        DefaultKind.DYNAMIC,
        None,
    ),
    (SPLIT, "client.get_treatment('user', 'k')", "split", "get_treatment", IMPLICIT, "control"),
    (
        SPLIT,
        "client.get_treatment(feature_flag_name='k', key='user')",
        "split",
        "get_treatment",
        IMPLICIT,
        "control",
    ),
    (
        SPLIT,
        "client.get_treatment_with_config('user', 'k', {'plan': 'x'})",
        "split",
        "get_treatment_with_config",
        IMPLICIT,
        "control",
    ),
    (UNLEASH, "client.is_enabled('k')", "unleash", "is_enabled", IMPLICIT, False),
    (UNLEASH, "client.is_enabled('k', {}, None)", "unleash", "is_enabled", IMPLICIT, False),
    (
        UNLEASH,
        "client.is_enabled('k', {}, lambda name, context: True)",
        "unleash",
        "is_enabled",
        LITERAL,
        True,
    ),
    (
        UNLEASH,
        "client.is_enabled(feature_name='k', fallback_function=lambda *_: False)",
        "unleash",
        "is_enabled",
        LITERAL,
        False,
    ),
    (UNLEASH, "client.get_variant('k')", "unleash", "get_variant", IMPLICIT, "disabled"),
    (
        OPENFEATURE,
        "client.get_boolean_value('k', True, ctx)",
        "openfeature",
        "get_boolean_value",
        LITERAL,
        True,
    ),
    (
        OPENFEATURE,
        "client.get_string_details(default_value='d', flag_key='k')",
        "openfeature",
        "get_string_details",
        LITERAL,
        "d",
    ),
    (
        OPENFEATURE,
        "await client.get_object_value_async('k', {'a': [1, None]})",
        "openfeature",
        "get_object_value_async",
        LITERAL,
        {"a": [1, None]},
    ),
    (
        OPENFEATURE,
        "client.evaluate_flag_details(FlagType.BOOLEAN, 'k', False)",
        "openfeature",
        "evaluate_flag_details",
        LITERAL,
        False,
    ),
    (WAFFLE, "flag_is_active(request, 'k')", "waffle", "flag_is_active", IMPLICIT, None),
    (WAFFLE, "switch_is_active('k')", "waffle", "switch_is_active", IMPLICIT, None),
    (WAFFLE, "sample_is_active(sample_name='k')", "waffle", "sample_is_active", IMPLICIT, None),
    (
        "import waffle\n",
        "waffle.switch_is_active('k')",
        "waffle",
        "switch_is_active",
        IMPLICIT,
        None,
    ),
    (
        "from waffle import get_waffle_flag_model\n",
        "get_waffle_flag_model().get('k').is_active(request)",
        "waffle",
        "get",
        IMPLICIT,
        None,
    ),
    ("from waffle.models import Switch\n", "Switch.get('k')", "waffle", "get", IMPLICIT, None),
    (
        "from waffle.models import Flag\n",
        "Flag.objects.get(name='k')",
        "waffle",
        "get",
        NONE,
        None,
    ),
    (
        "from waffle.testutils import override_flag\n",
        "override_flag('k', active=True)",
        "waffle",
        "override_flag",
        NONE,
        None,
    ),
]


@pytest.mark.parametrize("start, call, sdk, name, kind, value", CALLS)
def test_a_call_says_its_key_and_its_default(one, start, call, sdk, name, kind, value):
    found = one(f"{start}async def ask(user, ctx, request):\n    return {call}\n")
    assert (found.sdk, found.call, found.keys, found.dynamic) == (sdk, name, ("k",), None)
    assert found.certainty is Certainty.PROVEN
    assert (found.default.kind, found.default.value) == (kind, value)
    assert type(found.default.value) is type(value)
    assert found.function == "ask"


def test_the_value_of_a_default_is_no_key_where_the_orders_differ(scan):
    found = scan(
        """
        from ldclient import LDClient
        from openfeature.client import OpenFeatureClient

        def ask(old: LDClient, new: OpenFeatureClient, user):
            old.variation("key", user, "default")
            new.get_string_value("key", "default", user)
        """
    )
    assert [(one.keys, one.default.value) for one in found] == [(("key",), "default")] * 2


def test_all_flags_at_once_are_listed_as_bulk(scan):
    found = scan(
        """
        import ldclient
        from downhaul import Flags
        from splitio import get_factory

        def ask(user):
            ldclient.get().all_flags_state(user)
            Flags.connect().evaluate_all(user)
            client = get_factory("key").client()
            client.get_treatments_by_flag_set(user, "checkout")
            client.get_treatments_with_config_by_flag_sets(user, ["a", "b"])
        """
    )
    assert [one.bulk for one in found.bulk] == [
        "all flags",
        "all flags",
        'flag set "checkout"',
        'flag sets ["a", "b"]',
    ]
    assert not found.by_key()
    assert not found.dynamic


def test_several_keys_in_one_call_are_all_of_them(one):
    found = one(
        f"""
        {SPLIT.splitlines()[0]}
        THIRD = "c"
        get_factory("x").client().get_treatments("user", ["a", "b", THIRD, other()])
        """
    )
    assert found.keys == ("a", "b", "c")
    assert found.dynamic == "other()"


def test_named_switches_are_kept_apart_from_flags(scan):
    found = scan(
        """
        from downhaul import Flags
        flags = Flags.connect()

        @flags.guarded_by("agents", otherwise=None)
        def answer():
            return flags.is_up("mail")
        """
    )
    assert [(one.call, one.keys, one.function) for one in found] == [
        ("guarded_by", ("switch:agents",), ""),
        ("is_up", ("switch:mail",), "answer"),
    ]


def test_decorators_and_mixins_of_waffle_name_flags_with_or_without_a_bang(scan):
    found = scan(
        """
        from django.views import View
        from waffle.decorators import waffle_flag, waffle_switch
        from waffle.mixins import WaffleFlagMixin, WaffleSampleMixin

        @waffle_flag("!a")
        def view(request): ...

        @waffle_switch("b", redirect_to="home")
        def other(request): ...

        class Base(WaffleFlagMixin): ...

        class Page(Base, View):
            waffle_flag = "c"

        class Sampled(WaffleSampleMixin, View):
            waffle_sample = "!d"

        class NotOne(View):
            waffle_flag = 7
        """
    )
    rows = [(one.call, one.keys, one.certainty.value) for one in found if one.keys]
    assert rows == [
        ("waffle_flag", ("a",), "proven"),
        ("waffle_switch", ("b",), "proven"),
        ("WaffleFlagMixin", ("c",), "proven"),
        ("WaffleSampleMixin", ("d",), "proven"),
    ]
    assert found.of("a")[0].default == Default(IMPLICIT, None, "WAFFLE_FLAG_DEFAULT")
    assert [one.function for one in found if one.keys][2:] == ["Page", "Sampled"]


# The tables against the SDKs


def _class(module, name):
    return getattr(pytest.importorskip(module), name)


SDK_CLASSES = [
    ("LDClient", "ldclient.client", "LDClient"),
    ("LDClient", "ldclient.async_client", "AsyncLDClient"),
    ("Migrator", "ldclient.migrations.migrator", "Migrator"),
    ("SplitClient", "splitio.client.client", "Client"),
    ("SplitClient", "splitio.client.client", "ClientAsync"),
    ("UnleashClient", "UnleashClient", "UnleashClient"),
    ("OpenFeatureClient", "openfeature.client", "OpenFeatureClient"),
]


def _check(kind, cls):
    for verb in KINDS[kind].verbs.values():
        (_, *parameters) = inspect.signature(getattr(cls, verb.name)).parameters.values()
        named = [one for one in parameters if one.kind is not one.VAR_KEYWORD]
        assert tuple(one.name for one in named) == verb.parameters, verb.name
        required = [one for one in named if one.default is one.empty]
        assert len(required) == verb.required, verb.name


@pytest.mark.parametrize("kind, module, name", SDK_CLASSES)
def test_parameters_are_those_of_the_sdk_itself(kind, module, name):
    _check(kind, _class(module, name))


def test_parameters_of_our_own_are_those_of_the_client():
    _check("Flags", Flags)


def test_every_method_of_ours_that_takes_a_flag_or_a_switch_is_known():
    takes = {
        name
        for name, method in inspect.getmembers(Flags, inspect.isfunction)
        if {"flag", "switch"} & set(inspect.signature(method).parameters)
    }
    assert takes <= set(KINDS["Flags"].verbs)


@pytest.mark.parametrize("kind, module, name", [one for one in SDK_CLASSES if one[0] != "Migrator"])
def test_every_evaluating_method_of_an_sdk_is_known(kind, module, name):
    """A method with a parameter that is called as a flag's key, or that names a set of flags."""
    keys = {"feature_name", "feature_flag_name", "feature_flag_names", "flag_key"}
    keys |= {"flag_set", "flag_sets"}
    cls = _class(module, name)
    public = {
        method
        for method, function in inspect.getmembers(cls, inspect.isfunction)
        if not method.startswith("_") and keys & set(inspect.signature(function).parameters)
    }
    assert public <= set(KINDS[kind].verbs)


def test_functions_are_counted_by_their_own_names_only():
    assert {name for _, name in FUNCTIONS} == {verb.name for verb in FUNCTIONS.values()}
