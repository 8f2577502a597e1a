"""Hypothesis strategies for documents and contexts of Unleash, in which nothing is drawn at random.

What users are bucketed by is always in the context, so that a vendor's engine and ours can be asked
the same question once.
"""

from hypothesis import strategies as st

TEXTS = ("a", "b", "A", "anna", "Straße", "STRASSE", "x y", "10", "5", "true", 'it"s', "1.2.3")
NUMBERS = ("5", "5.0", "-3", "1e3", "0", "+7", "1.", "007", "9007199254740993")
TIMES = ("2024-01-29T13:00:00.000Z", "2024-01-29T13:00:00Z", "2024-01-29T14:00:00+01:00")
VERSIONS = ("1.2.3", "1.2.3-beta.1", "1.2.3-beta.2", "2.0.0+b1", "1.10.0")
PATTERNS = ("a+", "^b", "n{2}", "[a-c]x?", "^$", "x y", "(", "(?=a)", ".*")
NETWORKS = ("10.0.0.0/8", "10.1.2.3", "10.1.2.3/16", "::1", "2001:db8::/32", "bad", "0.0.0.0/0")
FIELDS = ("userId", "sessionId", "environment", "currentTime", "plan", "size", "/x", "targetingKey")
NAMES = ("red", "blue", "green", "on", "off", "disabled")
STICKINESS = ("default", "userId", "sessionId", "plan", "environment")

_values = st.sampled_from((*TEXTS, *NUMBERS, *TIMES, *VERSIONS))
_many = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3)


def _of(families, values):
    return st.fixed_dictionaries(
        {
            "contextName": st.sampled_from(FIELDS),
            "operator": st.sampled_from(families),
            **values,
        },
        optional={"inverted": st.booleans(), "caseInsensitive": st.booleans()},
    )


constraints = st.one_of(
    _of(("IN", "NOT_IN"), {"values": st.lists(st.sampled_from(TEXTS), max_size=3)}).filter(
        lambda one: one["contextName"] != "currentTime"
    ),
    _of(("STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS"), {"values": _many}).filter(
        lambda one: one["contextName"] != "currentTime"
    ),
    _of(("NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"), {"value": st.sampled_from(NUMBERS)}),
    _of(("DATE_AFTER", "DATE_BEFORE"), {"value": st.sampled_from(TIMES)}),
    _of(("SEMVER_EQ", "SEMVER_GT", "SEMVER_LT"), {"value": st.sampled_from(VERSIONS)}),
    _of(("REGEX",), {"value": st.sampled_from(PATTERNS)}).filter(
        lambda one: one["contextName"] != "currentTime"
    ),
    _of(
        ("IN_CIDR",),
        {
            "contextName": st.sampled_from(("remoteAddress", "plan")),
            "values": st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3),
        },
    ),
)

_payloads = st.sampled_from(
    [
        {"type": "string", "value": "text"},
        {"type": "number", "value": "2.5"},
        {"type": "json", "value": '{"a": 1}'},
        {"type": "csv", "value": "a,b"},
    ]
)


@st.composite
def variant_lists(draw, *, overrides):
    stickiness = draw(st.sampled_from(STICKINESS))
    found = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    made = []
    for name in found:
        one = {
            "name": name,
            "weight": draw(st.sampled_from((0, 1, 10, 333, 500, 1000))),
            "stickiness": stickiness,
        }
        if draw(st.booleans()):
            one["payload"] = draw(_payloads)
        if overrides and draw(st.integers(0, 3)) == 0:
            values = draw(st.lists(st.sampled_from(TEXTS), max_size=2))
            field = draw(st.sampled_from(FIELDS))
            one["overrides"] = [{"contextName": field, "values": values}]
        made.append(one)
    if not any(one["weight"] for one in made):
        made[0]["weight"] = 7
    return made


@st.composite
def strategies(draw):
    share = draw(st.sampled_from(("0", "1", "33", "50", "77", "99", "100", "12.5", "+50", "")))
    group = draw(st.sampled_from(("g1", "g2", "ü")))
    name, parameters = draw(
        st.sampled_from(
            [
                ("default", {}),
                ("userWithId", {"userIds": "a, anna,10"}),
                ("gradualRolloutUserId", {"percentage": share, "groupId": group}),
                ("gradualRolloutSessionId", {"percentage": share, "groupId": group}),
                ("flexibleRollout", {"rollout": share, "groupId": group}),
                ("remoteAddress", {"IPs": "10.0.0.0/8, ::1"}),
                ("somebodysOwn", {"x": "1"}),
            ]
        )
    )
    parameters = {**parameters}
    if name == "flexibleRollout":
        parameters["stickiness"] = draw(st.sampled_from(STICKINESS))
    one = {"name": name, "parameters": parameters}
    if draw(st.booleans()):
        one["constraints"] = draw(st.lists(constraints, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        one["segments"] = [draw(st.sampled_from((1, 2)))]
    if draw(st.integers(0, 2)) == 0:
        one["variants"] = draw(variant_lists(overrides=False))
    return one


@st.composite
def documents(draw):
    features = []
    for number in range(draw(st.integers(1, 5))):
        feature = {
            "name": f"f{number}",
            "enabled": draw(st.integers(0, 9)) > 0,
            "strategies": draw(st.lists(strategies(), max_size=3)),
        }
        if draw(st.booleans()):
            feature["variants"] = draw(variant_lists(overrides=True))
        if number and draw(st.integers(0, 2)) == 0:
            needed = {"feature": draw(st.sampled_from([f"f{one}" for one in range(number)]))}
            if draw(st.booleans()):
                needed["enabled"] = draw(st.booleans())
            elif draw(st.booleans()):
                needed["variants"] = ["red", "on"]
            feature["dependencies"] = [needed]
        features.append(feature)
    segments = [
        {"id": number, "name": f"s{number}", "constraints": draw(st.lists(constraints, max_size=2))}
        for number in (1, 2)
    ]
    return {"version": 2, "features": features, "segments": segments}


contexts = st.fixed_dictionaries(
    {
        "userId": st.sampled_from(TEXTS) | st.integers(0, 500).map(str),
        "sessionId": st.integers(0, 500).map(str),
        "environment": st.sampled_from(TEXTS),
        "properties": st.fixed_dictionaries(
            {"plan": _values},
            optional={"size": _values, "/x": _values, "targetingKey": _values},
        ),
    },
    optional={
        "remoteAddress": st.sampled_from(("10.1.2.3", "192.168.0.77", "::1", "x")),
        "currentTime": st.sampled_from((*TIMES, "2035-01-01T00:00:00.000001+00:00")),
    },
)
