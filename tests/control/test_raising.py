"""While a rollout is live, nobody but it raises its flag; to lower it is free (rule R3)."""

from dataclasses import replace

import pytest
from rollout_world import provider_at

from downhaul.backends.edits import with_on, with_rollout
from downhaul.control import Operator
from downhaul.control.results import OnConflict
from downhaul.errors import Refused
from downhaul.flag import Flag, FlagKind, FlagSet, FlagType, Split, Weight
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.service import Rollouts
from downhaul.store import schema

pytestmark = pytest.mark.rule("R3")

STEPS = (Step(50_000, 60.0, 180.0), Step(100_000, 60.0, 180.0))
ARMS = Flag(
    key="arms",
    kind=FlagKind.STRING,
    variants={"none": "0", "a": "1", "b": "2"},
    off_variant="none",
    default=Split((Weight("a", 20_000), Weight("b", 20_000), Weight("none", 60_000))),
    on=True,
)


@pytest.fixture
def operator(tmp_path):
    provider = provider_at(f"sqlite:///{tmp_path / 'flags.db'}")
    schema.upgrade(provider.database)
    with Operator(provider, provider.control, actor="ana") as operator:
        yield operator
    provider.close()


@pytest.fixture
def rollout(operator):
    """A live rollout of a flag that serves 20 %, and did 30 % before."""
    operator.create(Flag.boolean("agent", percent=30))
    operator.percent("agent", 20)
    operator.create(Flag.boolean("other", percent=20))
    return start(operator, "agent", "on")


def start(operator, flag, variant):
    return Rollouts(operator).start(Plan(flag, variant, STEPS, unguarded="a test"))


def part_of(operator, key="agent"):
    return operator.get(key).default.weights[0].weight


RAISES = {
    "percent": lambda operator, key: operator.percent(key, 25),
    "put": lambda operator, key: operator.put(with_rollout(operator.get(key), "on", 25_000)),
    "set": lambda operator, key: operator.set(key, default="on"),
    "restore": lambda operator, key: operator.restore(
        key, operator.history(key, limit=50)[-1].record.version
    ),
    "import": lambda operator, key: operator.import_flags(
        FlagSet.of([with_rollout(operator.get(key), "on", 25_000)]), on_conflict=OnConflict.REPLACE
    ),
}


@pytest.mark.parametrize("way", RAISES)
def test_nobody_raises_by_hand_what_a_rollout_raises(operator, rollout, way):
    before = operator.get("agent")
    with pytest.raises(Refused, match=f"has a live rollout, {rollout.id}") as refused:
        RAISES[way](operator, "agent")
    assert f"`rollout status {rollout.id}`" in refused.value.hint
    assert operator.get("agent") == before


@pytest.mark.parametrize("way", ["percent", "put", "set", "import"])
def test_another_flag_is_raised_as_ever(operator, rollout, way):
    RAISES[way](operator, "other")
    assert operator.get("other").default == "on" or part_of(operator, "other") == 25_000


@pytest.mark.parametrize("way", ["on", "put", "set"])
def test_nobody_turns_it_on_by_hand(operator, rollout, way):
    operator.off("agent")
    ways = {
        "on": lambda: operator.on("agent"),
        "put": lambda: operator.put(with_on(operator.get("agent"), True)),
        "set": lambda: operator.set("agent", on=True),
    }
    with pytest.raises(Refused, match="has a live rollout"):
        ways[way]()
    assert not operator.get("agent").on


def test_to_lower_it_is_free(operator, rollout):
    operator.percent("agent", 10)
    assert part_of(operator) == 10_000
    operator.put(with_rollout(operator.get("agent"), "on", 5_000))
    operator.set("agent", default=with_rollout(operator.get("agent"), "on", 1_000).default)
    assert part_of(operator) == 1_000
    operator.off("agent")
    assert not operator.get("agent").on


def test_while_it_is_off_it_may_be_prepared(operator, rollout):
    operator.off("agent")
    operator.percent("agent", 80)
    assert part_of(operator) == 80_000


def test_whom_it_denies_and_what_is_told_about_it_are_free(operator, rollout):
    operator.deny("agent", ["ben"])
    operator.set("agent", description="new", owner="bo", tags=("a",), type=FlagType.EXPERIMENT)
    after = operator.get("agent")
    assert after.targets[0].keys == {"ben"}
    assert (after.description, after.owner, after.tags) == ("new", "bo", ("a",))
    assert part_of(operator) == 20_000


def test_another_variant_may_be_raised_and_the_one_that_rises_may_not(operator):
    operator.create(ARMS)
    start(operator, "arms", "a")
    operator.percent("arms", 40, "b")
    with pytest.raises(Refused, match="has a live rollout"):
        operator.percent("arms", 30, "a")
    with pytest.raises(Refused, match="has a live rollout"):  # what is left goes to the others
        operator.percent("arms", 0, "b")


def test_once_it_has_ended_it_is_raised_by_hand_again(operator, rollout):
    assert Rollouts(operator).cancel(rollout.id).applied
    operator.percent("agent", 25)
    assert part_of(operator) == 25_000


def test_an_import_that_raises_one_of_many_writes_none(operator, rollout):
    wanted = [with_rollout(operator.get(key), "on", 25_000) for key in ("other", "agent")]
    new = [Flag.boolean("new")]
    with pytest.raises(Refused):
        operator.import_flags(FlagSet.of(new + wanted), on_conflict=OnConflict.REPLACE)
    assert part_of(operator, "other") == 20_000
    assert "new" not in operator.list().flags
    lower = [replace(one, default="off") for one in wanted]
    operator.import_flags(FlagSet.of(lower), on_conflict=OnConflict.REPLACE)
    assert operator.get("agent").default == "off"
