"""The evaluation of a flag, as slowly and plainly as it can be said: what the tests compare with.

Written from what ``downhaul.flag`` promises, for clauses of the native dialect, and sharing no code
with the evaluator. It interprets, keeps nothing, and looks everything up again at each question.
"""

# ruff: noqa: C901, PLR0911, PLR0912  (one case after the other, as the model is told)

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import zip_longest

import cbor2
import mmh3

from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Split,
)

MISSING_KEY = object()
NOBODY = object()


def decide(flag_set, overlay, key, context):
    """Return (variant, reason, rule) of a flag; variant None is the caller's default."""
    flag = flag_set.flags[key]
    kill = overlay.kill_of(key, flag.tags)
    if kill is not None:
        return flag.off_variant, "KILLED", ""
    if not flag.on:
        return flag.off_variant, "DISABLED", ""
    for needed in flag.prerequisites:
        if not prerequisite_holds(flag_set, overlay, needed, context):
            return flag.off_variant, "DISABLED", ""
    for kind in dict.fromkeys(target.context_kind for target in flag.targets):
        for target in flag.targets:
            if target.context_kind == kind and key_of(context, kind) in target.keys:
                return target.variant, "TARGETING_MATCH", ""
    for index, rule in enumerate(flag.rules):
        name = rule.id or str(index)
        if not all(holds(flag_set, overlay, clause, context) for clause in rule.clauses):
            continue
        if rule.gate is not None:
            place = choose(rule.gate.bucketing, key, (rule.gate.share,), context)
            if place is MISSING_KEY:
                return None, "ERROR", ""
            if place is NOBODY:
                if rule.gate.outside is None:
                    continue
                return rule.gate.outside, "SPLIT", name
        served = serve(rule.serve, key, context, "TARGETING_MATCH")
        if served is not NOBODY:
            return (*served, "" if served[1] == "ERROR" else name)
    something = flag.rules or flag.targets or flag.prerequisites
    served = serve(flag.default, key, context, "DEFAULT" if something else "STATIC")
    return (flag.off_variant, "DEFAULT", "") if served is NOBODY else (*served, "")


def prerequisite_holds(flag_set, overlay, needed, context):
    other = flag_set.flags.get(needed.flag)
    if other is None:
        return False
    variant, _, _ = decide(flag_set, overlay, needed.flag, context)
    off = not other.on or overlay.kill_of(other.key, other.tags) is not None
    wanted = needed.variants or [name for name in other.variants if name != other.off_variant]
    return (variant in wanted and (needed.while_off or not off)) != needed.negate


def serve(what, flag_key, context, reason):
    if not isinstance(what, Split):
        return what, reason
    place = choose(
        what.bucketing,
        flag_key,
        [one.weight for one in what.weights],
        context,
        last_takes_all=what.weights[-1].variant is not None,
    )
    if place is MISSING_KEY:
        return None, "ERROR"
    if place is NOBODY or what.weights[place].variant is None:
        return NOBODY
    return what.weights[place].variant, "SPLIT"


# --- buckets


def choose(how, flag_key, weights, context, *, last_takes_all=False):
    """Return the index of the weight that a context falls to."""
    texts = [to_hash(how, name, context) for name in how.by]
    text = next((one for one in texts if one is not None), None)
    if text is None:
        # All of the buckets, or none: then nobody needs a key (unless imported).
        if how.no_key is NoKey.MISS:
            return NOBODY
        if how.no_key is NoKey.FIRST and part_of(context, how.context_kind) is None:
            return 0
        positive = [index for index, weight in enumerate(weights) if weight]
        if not positive:
            return NOBODY
        if how.no_key is NoKey.FIRST or weights[positive[0]] >= how.total:
            return positive[0]
        return MISSING_KEY
    salt = flag_key if how.salt is None else how.salt
    position = share_of(how, salt, text)
    if how.scheme is Scheme.LAUNCHDARKLY:
        edge = 0.0
        for index, weight in enumerate(weights):
            edge += weight / how.total
            if position < edge:
                return index
        return len(weights) - 1 if last_takes_all else NOBODY
    edge = 0
    for index, weight in enumerate(weights):
        edge += weight
        if position < edge:
            return index
    return NOBODY


def to_hash(how, name, context):
    value = read(context, name, how.context_kind)
    if how.scheme is Scheme.UNLEASH and isinstance(value, (bool, float)):
        return str(value).lower()  # its clients send every scalar as text
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if value == "" and (
        name == TARGETING_KEY or how.scheme not in (Scheme.LAUNCHDARKLY, Scheme.UNLEASH)
    ):
        return None
    return str(value)


def share_of(how, salt, text):
    seed = (how.seed or 0) % 2**32
    if how.scheme is Scheme.DOWNHAUL:
        return mmh3.hash(cbor2.dumps([salt, text]), signed=False) * how.total // 2**32
    if how.scheme is Scheme.LAUNCHDARKLY:
        digest = hashlib.sha1(f"{salt}.{text}".encode(), usedforsecurity=False)
        return int(digest.hexdigest()[:15], 16) / float(16**15 - 1)
    if how.scheme is Scheme.SPLIT:
        return mmh3.hash(text, seed, signed=False) % how.total
    if how.scheme is Scheme.UNLEASH:
        return mmh3.hash(f"{salt}:{text}", seed, signed=False) % how.total
    if how.scheme is Scheme.FLIPPER:
        return crc32(f"{salt}{text}".encode()) % how.total
    hashed = 0
    for letter in text:
        hashed = hashed * 31 + ord(letter)
    hashed = hashed % 2**32 ^ seed
    return abs(hashed - 2**32 if hashed >= 2**31 else hashed) % how.total


def crc32(data):
    """The CRC of zlib, bit by bit (ISO 3309)."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


# --- clauses


def part_of(context, kind):
    if context.kinds is not None:
        return context.kinds.get(kind)
    return context if context.kind == kind else None


def key_of(context, kind):
    part = part_of(context, kind)
    return None if part is None else part.targeting_key


def read(context, attribute, kind):
    if attribute == CONTEXT_KIND:
        return list(context.kinds) if context.kinds is not None else [context.kind]
    part = part_of(context, kind)
    if part is None:
        return None
    if attribute == TARGETING_KEY:
        return part.targeting_key
    value = part.attributes
    names = attribute[1:].split("/") if attribute.startswith("/") else [attribute]
    for name in names:
        if not isinstance(value, Mapping):
            return None
        if attribute.startswith("/"):
            name = re.sub("~[01]", lambda found: "~/"[int(found[0][1])], name)  # noqa: PLW2901
        value = value.get(name)
    return value


def holds(flag_set, overlay, clause, context):
    if clause.operator is Operator.IN_SEGMENT:
        inside = any(member(flag_set, overlay, key, context) for key in clause.values)
        return inside != clause.negate
    if clause.operator is Operator.SERVES:
        if clause.attribute not in flag_set.flags:
            return False
        variant, _, _ = decide(flag_set, overlay, clause.attribute, context)
        return (variant in clause.values) != clause.negate
    value = read(context, clause.attribute, clause.context_kind)
    if clause.operator is Operator.PRESENT:
        return (value is not None) != clause.negate
    if value is None:
        if clause.missing is not Missing.NOW:
            return clause.negate and clause.missing is Missing.FALSE
        value = context.at
    if clause.operator in SETS:
        found = isinstance(value, (list, tuple)) and SETS[clause.operator](
            {plain(one, clause) for one in value}, {plain(one, clause) for one in clause.values}
        )
        return found != clause.negate
    elements = value if isinstance(value, (list, tuple)) else [value]
    found = any(compare(clause, one, wanted) for one in elements for wanted in clause.values)
    return found != clause.negate


def member(flag_set, overlay, key, context):
    segment = flag_set.segments.get(key)
    if segment is None:
        return False
    for lists, answer in ((segment.included, True), (segment.excluded, False)):
        if any(key_of(context, one.context_kind) in one.keys for one in lists):
            return answer
    return any(
        all(holds(flag_set, overlay, clause, context) for clause in rule.clauses)
        and (
            rule.gate is None or choose(rule.gate.bucketing, key, (rule.gate.share,), context) == 0
        )
        for rule in segment.rules
    )


def plain(value, clause):
    """Return a value with its JSON type, so that True is not 1; strings maybe without case."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, str):
        return "string", value.casefold() if clause.ignore_case else value
    return "nothing", id(value)


SETS = {
    Operator.HAS_ANY: lambda mine, wanted: bool(mine & wanted),
    Operator.HAS_ALL: lambda mine, wanted: mine >= wanted,
    Operator.SET_EQUALS: lambda mine, wanted: mine == wanted,
    Operator.SUBSET_OF: lambda mine, wanted: bool(mine) and mine <= wanted,
}


def compare(clause, value, wanted):
    name = clause.operator.value
    if name == "in":
        return plain(value, clause) == plain(wanted, clause)
    if name in ("starts_with", "ends_with", "contains", "matches"):
        if not isinstance(value, str) or not isinstance(wanted, str):
            return False
        if name == "matches":
            return re.search(wanted, value, re.IGNORECASE * clause.ignore_case) is not None
        if clause.ignore_case:
            value, wanted = value.casefold(), wanted.casefold()
        if name == "contains":
            return wanted in value
        return value.startswith(wanted) if name == "starts_with" else value.endswith(wanted)
    if name == "in_cidr":
        return in_network(value, wanted)
    for suffixes, reading in ((TIMES, time), (VERSIONS, version), (NUMBERS, number)):
        if name in suffixes:
            one, other = reading(value), reading(wanted)
            return one is not None and other is not None and suffixes[name](order(one, other))
    raise AssertionError(name)


def order(one, other):
    """Return -1, 0 or 1, as C's comparison functions do."""
    if isinstance(one, tuple):
        for mine, theirs in zip_longest(one[1], other[1], fillvalue=None):
            if mine != theirs:
                if mine is None or theirs is None:
                    return -1 if mine is None else 1
                return order_of_identifiers(mine, theirs)
        return 0
    return (one > other) - (one < other)


NUMBERS = {
    "equal": lambda sign: sign == 0,
    "less": lambda sign: sign < 0,
    "less_or_equal": lambda sign: sign <= 0,
    "greater": lambda sign: sign > 0,
    "greater_or_equal": lambda sign: sign >= 0,
}
VERSIONS = {f"semver_{name}": sign for name, sign in NUMBERS.items()}
TIMES = {
    "same_time": NUMBERS["equal"],
    "before": NUMBERS["less"],
    "after": NUMBERS["greater"],
    "at_or_before": NUMBERS["less_or_equal"],
    "at_or_after": NUMBERS["greater_or_equal"],
}


def number(value):
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def time(value):
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def version(value):
    """Return a version as ("version", identifiers); a release ends with one above all others."""
    found = isinstance(value, str) and re.fullmatch(
        r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", value, re.ASCII
    )
    if not found or any(
        part != "0" and part.startswith("0") for part in (found[1], found[2], found[3])
    ):
        return None
    before = ["~release"] if found[4] is None else found[4].split(".")
    if any(not one or (one.isdigit() and one != "0" and one[0] == "0") for one in before):
        return None
    return "version", (found[1], found[2], found[3], *before)


def order_of_identifiers(one, other):
    if one.isdigit() and other.isdigit():
        return (int(one) > int(other)) - (int(one) < int(other))
    if one.isdigit() != other.isdigit():
        return -1 if one.isdigit() else 1
    return (one > other) - (one < other)  # "~" stands after all letters


def in_network(value, wanted):
    if not isinstance(value, str) or not isinstance(wanted, str):
        return False  # a number is no address, though the library reads it as one
    try:
        address = ipaddress.ip_address(value)
        network = ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False
    return address in network or (getattr(address, "ipv4_mapped", None) or address) in network
