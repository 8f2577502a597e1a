"""Rule E6: one user, one bucket, in every process and language; rule E9: so at the vendors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core.targeting.custom_ops import fractional
from strategies import texts

from downhaul import Context, Flag, Flags
from downhaul.evaluator.bucketing import (
    Heads,
    bucket,
    bucket_of,
    cbor_head,
    chooser,
    hash_limit,
    measure_of,
)
from downhaul.flag import Bucketing, FlagKind, Rule, Scheme, Split, Target, Weight
from downhaul.result import Reason

GOLDEN = Path(__file__).parent.parent / "golden"
NATIVE = json.loads((GOLDEN / "native.json").read_text(encoding="utf-8"))
VENDORS = json.loads((GOLDEN / "vendors.json").read_text(encoding="utf-8"))


def spelled(pair):
    text, times = pair
    return text * times


@pytest.mark.rule("E6")
def test_golden_vectors_hold():
    wrong = [
        one for one in NATIVE if bucket(spelled(one["salt"]), spelled(one["key"])) != one["bucket"]
    ]
    assert wrong == []
    assert len({one["bucket"] for one in NATIVE}) > 0.9 * len(NATIVE)


@pytest.mark.rule("E6")
def test_golden_vectors_hold_through_a_flag():
    for one in NATIVE:
        edge = one["bucket"]
        for weight, inside in ((edge, False), (edge + 1, True)):
            split = Split(
                (Weight("on", weight), Weight("off", 100_000 - weight)),
                Bucketing(salt=spelled(one["salt"])),
            )
            flags = Flags.in_memory([Flag(key="f", default=split, on=True)])
            assert flags.is_enabled("f", spelled(one["key"])) is inside


@pytest.mark.rule("E6")
def test_every_head_of_a_text_in_cbor_is_among_the_golden_vectors():
    lengths = {len(spelled(one[part]).encode()) for one in NATIVE for part in ("salt", "key")}
    for low, high in ((0, 24), (24, 256), (256, 65_536), (65_536, 1 << 32)):
        assert any(low <= length < high for length in lengths)


@pytest.mark.rule("E6")
def test_heads_are_those_of_the_cbor_specification():
    # RFC 8949, appendix A, and the edges of each form.
    assert cbor_head(3, 0) == bytes.fromhex("60")
    assert cbor_head(3, 23) == bytes.fromhex("77")
    assert cbor_head(3, 24) == bytes.fromhex("7818")
    assert cbor_head(3, 255) == bytes.fromhex("78ff")
    assert cbor_head(3, 256) == bytes.fromhex("790100")
    assert cbor_head(3, 65_536) == bytes.fromhex("7a00010000")
    assert cbor_head(3, 1 << 32) == bytes.fromhex("7b0000000100000000")
    assert cbor_head(4, 2) == bytes.fromhex("82")


@pytest.mark.rule("E6")
@given(salt=texts, key=texts.filter(bool), weight=st.integers(1, 99_999))
def test_a_split_equals_the_fractional_evaluation_of_flagd(salt, key, weight):
    asked = {"targetingKey": key, "$flagd": {"flagKey": salt}}
    theirs = fractional(asked, ["in", weight], ["out", 100_000 - weight])
    assert (bucket(salt, key) < weight) == (theirs == "in")


@pytest.mark.rule("E6")
@given(
    salt=texts,
    key=texts.filter(bool),
    weights=st.lists(st.integers(0, 1_000), min_size=1, max_size=6).filter(any),
)
def test_a_split_of_many_variants_equals_that_of_flagd_too(salt, key, weights):
    names = [f"v{number}" for number in range(len(weights))]
    asked = {"targetingKey": key, "$flagd": {"flagKey": salt}}
    theirs = fractional(asked, *map(list, zip(names, weights, strict=True)))
    flag = Flag(
        key="f",
        kind=FlagKind.STRING,
        variants={name: name for name in names},
        off_variant="v0",
        on=True,
        default=Split(tuple(map(Weight, names, weights)), Bucketing(salt=salt, total=sum(weights))),
    )
    assert Flags.in_memory([flag]).value("f", key, "") == theirs


@pytest.mark.rule("E6")
@given(digest=st.integers(0, (1 << 32) - 1), total=st.integers(1, 10**6), data=st.data())
def test_comparing_hashes_is_comparing_buckets(digest, total, data):
    weight = data.draw(st.integers(0, total))
    assert (digest < hash_limit(weight, total)) == (digest * total >> 32 < weight)


@pytest.mark.rule("E6")
@given(key=texts.filter(bool), shape=st.sampled_from(["plain", "targeted", "rule"]))
def test_the_edge_itself_is_outside_whatever_shape_the_flag_has(key, shape):
    # With as many buckets as there are hashes, a bucket is its hash.
    total = 1 << 32
    place = bucket("f", key, total)
    for weight, inside in ((place, False), (place + 1, True)):
        if not 0 < weight < total:
            continue
        split = Split((Weight("on", weight), Weight("off", total - weight)), Bucketing(total=total))
        flag = {
            "plain": Flag(key="f", default=split, on=True),
            "targeted": Flag(
                key="f", default=split, on=True, targets=(Target("on", frozenset(["\n"])),)
            ),
            "rule": Flag(key="f", default="off", on=True, rules=(Rule(split),)),
        }[shape]
        flags = Flags.in_memory([flag])
        assert flags.is_enabled("f", key) is (inside or (shape == "targeted" and key == "\n"))
        assert flags.evaluate_many("f", [key])[0].value is flags.is_enabled("f", key)


@pytest.mark.rule("E6")
def test_salt_and_key_do_not_run_into_each_other():
    assert Heads("a")[2] + b"bc" != Heads("ab")[1] + b"c"
    assert bucket("a", "bc") != bucket("ab", "c")


_ELSEWHERE = """
import json, sys
from downhaul import Flag, Flags
flags = Flags.in_memory([Flag.boolean(key, percent=share) for key, share in (("f", 30), ("g", 5))])
print(json.dumps([flags.is_enabled(f, f"user-{n}") for f in "fg" for n in range(2000)]))
"""


@pytest.mark.rule("E6")
def test_another_process_with_another_seed_for_hashes_decides_the_same():
    answers = {
        subprocess.run(
            [sys.executable, "-c", _ELSEWHERE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    }
    assert len(answers) == 1
    flags = Flags.in_memory([Flag.boolean("f", percent=30), Flag.boolean("g", percent=5)])
    here = [flags.is_enabled(flag, f"user-{n}") for flag in "fg" for n in range(2000)]
    assert json.loads(answers.pop()) == here
    assert 0.26 < sum(here[:2000]) / 2000 < 0.34


@pytest.mark.rule("E6")
def test_a_flags_own_key_is_its_salt_unless_one_is_set():
    keys = [f"user-{number}" for number in range(500)]
    renamed = Flag(
        key="new",
        on=True,
        default=Split((Weight("on", 30_000), Weight("off", 70_000)), Bucketing(salt="old")),
    )
    flags = Flags.in_memory(
        [Flag.boolean("old", percent=30), renamed, Flag.boolean("x", percent=30)]
    )
    old, new, other = (
        [flags.is_enabled(flag, key) for key in keys] for flag in ("old", "new", "x")
    )
    assert old == new
    assert old != other


# --- the vendors' schemes


def bucketing_of(vector):
    return Bucketing(
        scheme=Scheme(vector["scheme"]),
        salt=vector.get("salt"),
        seed=vector.get("seed"),
        total=vector.get("total", 100_000),
    )


@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", ["launchdarkly", "split", "split_legacy", "unleash", "flipper"])
def test_golden_vectors_of_a_vendor_hold(scheme):
    vectors = [one for one in VENDORS if one["scheme"] == scheme]
    wrong = [
        one for one in vectors if measure_of(bucketing_of(one), "f")(one["key"]) != one["place"]
    ]
    assert wrong == []
    assert len(vectors) > 100


@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", ["launchdarkly", "split", "split_legacy", "unleash", "flipper"])
def test_a_vendors_edge_takes_in_whom_the_vendor_takes_in(scheme):
    for one in VENDORS:
        if one["scheme"] != scheme:
            continue
        how, key = bucketing_of(one), one["key"]
        # The least weight with which the key is in: the vendors count buckets from one.
        least = int(one["place"] * how.total) + 1 if scheme == "launchdarkly" else one["place"]
        for weight, index in ((least, 0), (least - 1, 1)):
            assert chooser(how, "f", (weight, how.total - weight))(key) == index
        assert bucket_of(how, "f", key) == least - 1


@pytest.mark.rule("E9")
def test_launchdarkly_gives_whoever_is_beyond_the_last_edge_the_last_variant():
    def served(*weights):
        split = Split(tuple(Weight(*one) for one in weights), Bucketing(Scheme.LAUNCHDARKLY))
        flags = Flags.in_memory([Flag(key="f", default=split, on=True)])
        return {flags.evaluate("f", f"user-{n}").reason for n in range(200)}

    assert served(("on", 10_000), ("off", 10_000)) == {Reason.SPLIT}
    # A rule's own answer, "nobody", is not handed out beyond its edge.
    assert served(("on", 10_000), (None, 10_000)) == {Reason.SPLIT, Reason.DEFAULT}


@pytest.mark.rule("E9")
def test_a_random_bucket_is_sticky_for_nobody():
    split = Split((Weight("on", 50_000), Weight("off", 50_000)), Bucketing(scheme=Scheme.RANDOM))
    flags = Flags.in_memory([Flag(key="f", default=split, on=True)])
    served = [flags.is_enabled("f", Context("one-user")) for _ in range(400)]
    assert 100 < sum(served) < 300
