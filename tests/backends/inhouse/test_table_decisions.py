"""Whatever stands in a row, we decide as the source's own code, with a hash that stays."""

import json
import zlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from in_house import decisions

from downhaul.backends.inhouse.database import Found
from downhaul.backends.inhouse.options import TableOptions
from downhaul.backends.inhouse.table_rows import translate
from downhaul.context import Context
from downhaul.evaluator.bucketing import bucket

USERS = [f"user-{number}" for number in range(40)]
COLUMNS = {one: one for one in ("key", "enabled", "percentage", "whitelist", "blacklist")}

lists = st.lists(st.sampled_from(USERS), max_size=6)
percentages = st.sampled_from([0, 1, 50, 99, 100]) | st.integers(0, 100_000).map(lambda n: n / 1000)
rows = st.fixed_dictionaries(
    {
        "enabled": st.sampled_from([True, False, None, 0, 1, "t", "f", "true", "0"]),
        "percentage": st.none() | percentages,
        "whitelist": lists,
        "blacklist": lists,
    }
)


class GuideFlags:
    """The guide's class, but for a hash that stays, and a list of whom it is denied."""

    def __init__(self, flags):
        self.flags = flags

    def is_enabled(self, flag_name, user_id):
        flag = self.flags.get(flag_name, {})
        if user_id in flag.get("blacklist", []):
            return False
        if flag.get("enabled") in (True, 1, "t", "true"):
            return True
        rollout_pct = flag.get("percentage") or 0
        if rollout_pct > 0 and bucket(flag_name, user_id) < round(rollout_pct * 1000):
            return True
        return user_id in flag.get("whitelist", [])


def switched(flag, name, user_id):
    """What many teams write instead: a switch before all else."""
    if flag["enabled"] not in (True, 1, "t", "true") or user_id in flag["blacklist"]:
        return False
    if user_id in flag["whitelist"] or flag["percentage"] is None:
        return True
    return bucket(name, user_id) < round(flag["percentage"] * 1000)


def translated(row, **options):
    cells = {
        "key": "a",
        "enabled": row["enabled"],
        "percentage": row["percentage"],
        "whitelist": json.dumps(row["whitelist"]),
        "blacklist": row["blacklist"],
    }
    found = Found(COLUMNS, (cells,), ())
    made = translate((found,), TableOptions(**{"bucketing": "downhaul", **options}))
    return decisions(made, [Context(user) for user in USERS])["a"]


@given(rows)
def test_a_row_decides_as_the_guides_class_does(row):
    guide = GuideFlags({"a": row})
    assert translated(row) == [guide.is_enabled("a", user) for user in USERS]


@given(rows)
def test_a_row_whose_enabled_is_a_switch_decides_as_such_code_does(row):
    expected = [switched(row, "a", user) for user in USERS]
    assert translated(row, enabled_means="switch") == expected


@given(rows, st.sampled_from(["{flag}{user}", "{flag}:{user}", "{user}"]))
def test_a_percentage_by_crc32_keeps_every_user_where_they_were(row, hashed):
    def on(user):
        if row["enabled"] not in (True, 1, "t", "true") or user in row["blacklist"]:
            return False
        if user in row["whitelist"] or row["percentage"] is None:
            return True
        text = hashed.replace("{flag}", "a").replace("{user}", user)
        return zlib.crc32(text.encode()) % 100 < row["percentage"]

    made = translated(row, enabled_means="switch", bucketing="crc32", hashed=hashed)
    assert made == [on(user) for user in USERS]


cells = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.just(Decimal("nan"))
    | st.text(max_size=8)
    | st.binary(max_size=3)
    | st.lists(st.none() | st.text(max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


@given(
    st.lists(
        st.fixed_dictionaries(
            dict.fromkeys(
                (*COLUMNS, "value", "off_value", "kind", "tags", "owner", "description"), cells
            )
        ),
        max_size=4,
    ),
    st.sampled_from([None, "everyone", "switch"]),
    st.sampled_from(["python-hash", "downhaul", "crc32", "md5"]),
)
def test_whatever_a_cell_holds_each_row_is_carried_or_told(found_rows, enabled_means, bucketing):
    names = {name: name for row in found_rows for name in row} or COLUMNS
    options = TableOptions(enabled_means=enabled_means, bucketing=bucketing)
    made = translate((Found(names, tuple(found_rows), ()),), options)
    json.dumps([one.as_mapping() for one in made.ledger])
    read = {flag.key for flag in made.flags}
    left_out = [one for one in made.ledger if one.fidelity == "manual"]
    assert len(read) == len(found_rows) or left_out
