"""Hypothesis strategies for flags with plans that raise one of their variants."""

from math import gcd

from hypothesis import assume
from hypothesis import strategies as st
from strategies import flags, targeting_keys

from downhaul.backends.edits import weight_of_variant
from downhaul.flag import WHOLE, Split
from downhaul.rollout.plan import Plan, Step, Strategy


@st.composite
def flags_to_raise(draw, **of_flags):
    """A flag and a plan whose steps lie above what the flag serves, in what its split can keep.

    Of the flags' ``segments`` (keys), the plan may name some.
    """
    flag = draw(flags(**of_flags))
    variants = [one for one in flag.variants if one != flag.off_variant]
    assume(variants)
    variant = draw(st.sampled_from(variants))
    present = int(weight_of_variant(flag, variant)) if flag.on else 0
    assume(present < WHOLE)
    total = flag.default.bucketing.total if isinstance(flag.default, Split) else WHOLE
    unit = WHOLE // gcd(WHOLE, total)
    grid = st.integers(present // unit + 1, WHOLE // unit)
    weights = sorted(draw(st.sets(grid, min_size=1, max_size=4)))
    steps = tuple(Step(one * unit, 60.0, 180.0) for one in weights)
    strategy = draw(st.sampled_from(Strategy))
    audience = ()
    if strategy is Strategy.BLUE_GREEN:
        audience = tuple(draw(st.sets(targeting_keys, max_size=3)))
        preview = (Step(present, 60.0, 180.0, preview=True),) if audience else ()
        steps = (*preview, steps[-1])
    elif strategy is Strategy.RELEASE:
        steps = (draw(_named(present, of_flags.get("segments", ()))), *steps)
    elif strategy is Strategy.RINGS:
        rings = st.lists(_named(present, of_flags.get("segments", ())), min_size=1, max_size=3)
        steps = (*draw(rings), *steps[-2:])
    held = draw(st.sampled_from([0, 0, unit, 10 * unit]))
    below = max((one.weight for one in steps[:-1]), default=present)
    if held and steps[-1].weight == WHOLE and WHOLE - held > below:
        steps = (
            *steps[:-1],
            Step(WHOLE - held, 60.0, 180.0),
            Step(WHOLE, 0.0, 0.0),
        )
    plan = Plan(flag.key, variant, steps, strategy, unguarded="an example", audience=audience)
    return flag, plan


@st.composite
def _named(draw, present, segments):
    """A step that names users, or segments, or both."""
    targets = draw(st.lists(targeting_keys, max_size=3, unique=True))
    within = draw(st.lists(st.sampled_from(segments), max_size=2, unique=True)) if segments else []
    assume(targets or within)
    return Step(present, 60.0, 180.0, preview=True, targets=tuple(targets), segments=tuple(within))
