"""A flag as LaunchDarkly's REST API shows it, and how a semantic patch asks for its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from downhaul.errors import ProviderError, Refused
from downhaul.evaluator.lowering import lifted
from downhaul.flag import USER, WHOLE, Flag, FlagKind, Split, Weight
from downhaul.provider import portable_attribute
from downhaul_launchdarkly.api import NAME
from downhaul_launchdarkly.known import kind_of, names_of
from downhaul_launchdarkly.rules import NotCarried, rule_of, serve_of
from downhaul_launchdarkly.translate import as_sent

Instruction = dict[str, Any]
PORTABLE: Final = "downhaul:portable"
"""The description of the rule that serves by our own bucket."""


class Stored:
    """A flag as the REST API shows it in one environment.

    ``document`` is all of it, as it came; ``here`` the environment's own part, ``rules`` those of
    its rules that are not switched off, and ``sent`` what SDKs get. ``kept`` is what the narrow
    verbs change, in a form that can be compared.
    """

    def __init__(self, document: Mapping[str, Any], environment: str) -> None:
        if environment not in document["environments"]:
            message = f'LaunchDarkly\'s project has no environment "{environment}"'
            hint = "set `environment` in [provider] to the key of one that it has"
            raise ProviderError(message, flag=document["key"], provider=NAME, hint=hint)
        self.document = document
        self.environment = environment
        self.sent = as_sent(document, environment)
        self.here: Mapping[str, Any] = document["environments"][environment]
        self.rules = [one for one in self.here.get("rules") or [] if not one.get("disabled")]
        self.key: str = self.sent["key"]
        self.version = str(self.sent["version"])
        self.archived = bool(document.get("archived"))
        self.ids: list[str] = [one["_id"] for one in document["variations"]]
        self.names = names_of(self.sent["variations"], kind_of(self.sent["variations"]))
        self.kept: dict[str, Any] = {
            "on": self.sent["on"],
            "offVariation": self.sent["offVariation"],
            "fallthrough": _plain_serve(self.sent["fallthrough"]),
            "targets": {
                one["variation"]: sorted(one["values"])
                for one in self.sent["targets"] or []
                if one["values"]
            },
            "rules": [_plain_rule(one) for one in self.sent["rules"]],
        }

    @property
    def needs(self) -> list[str]:
        """The keys of the flags that this one requires."""
        return sorted({one["key"] for one in self.sent["prerequisites"] or []} - {self.key})

    @property
    def portable(self) -> bool:
        """Whether its percentage is by our own bucket: the last rule is, and nothing but that."""
        rest = self.kept["fallthrough"].get("variation")
        if rest is None or not self.kept["rules"]:
            return False
        rule = self.kept["rules"][-1]
        if rule["description"] != PORTABLE or "variation" not in rule["serve"]:
            return False
        asked = [(one["attribute"], one["op"]) for one in rule["clauses"]]
        return asked == [(portable_attribute(self.key), "lessThan")]

    def index(self, variant: str) -> int:
        """Return a variant's index. Raises Refused."""
        if variant not in self.names:
            message = f'flag "{self.key}" has no variant "{variant}"'
            raise Refused(message, flag=self.key, hint=f"it has {', '.join(self.names)}")
        return self.names.index(variant)

    def safe(self, declared: str | None) -> int | None:
        """Return the variation that off must serve: the declared one, or False of a boolean."""
        if declared is not None:
            return self.index(declared)
        values = self.sent["variations"]
        if kind_of(values) is FlagKind.BOOLEAN and False in values:
            return int(values.index(False))
        return None

    def refuse_foreign_rules(self) -> None:
        """Raise Refused where a rule stands that a rollout would not govern."""
        for one in self.kept["rules"]:
            if one["description"] != PORTABLE:
                named = one["description"] or str(one["clauses"])
                message = f'flag "{self.key}" has a rule of its own in LaunchDarkly: {named}'
                raise Refused(message, flag=self.key, hint="remove the rule there first")
        self.refuse_disabled_rules()

    def refuse_disabled_rules(self) -> None:
        """Raise Refused where rules are switched off: none of a flag's rules would survive."""
        if len(self.rules) != len(self.here.get("rules") or []):
            message = f'flag "{self.key}" has rules that are switched off, which would be lost'
            raise Refused(message, flag=self.key, hint="remove them in LaunchDarkly first")

    def carried(self) -> Split | None:
        """Return the split by which it serves all users by a bucket, if that is all it has."""
        names = self.names
        try:
            rules = tuple(rule_of(one, self.sent, names) for one in self.sent["rules"])
            rest = serve_of(self.sent["fallthrough"], self.sent, names)
        except NotCarried:
            return None
        if not isinstance(rest, str) or not rules:
            return None
        read = lifted(Flag(key=self.key, default=rest, rules=rules))
        return read.default if isinstance(read.default, Split) and not read.rules else None

    def refuse_other_shares(self, index: int, off: int) -> None:
        """Raise Refused where others are served by share too, or by more than a plain rollout."""
        now = self.kept["fallthrough"]
        self.refuse_thirds((place for place, _weight in now.get("weights", ())), index, off)
        if now.get("beside"):
            message = f'flag "{self.key}" has an experiment or a seed on its percentage'
            raise Refused(message, flag=self.key, hint="end it in LaunchDarkly first")

    def refuse_thirds(self, places: Iterable[int], index: int, off: int) -> None:
        """Raise Refused where others than these two are served by share."""
        others = set(places) - {index, off}
        if others:
            named = ", ".join(self.names[place] for place in sorted(others))
            message = f'flag "{self.key}" serves a share to {named} too'
            raise Refused(message, flag=self.key, hint="write the whole split, with put")

    def rollout(self, weights: Mapping[str, int]) -> Instruction:
        """Return how shares are asked for, of whom and by what they are taken now."""
        now = self.kept["fallthrough"]
        made: Instruction = {
            "rolloutWeights": dict(weights),
            "rolloutContextKind": now.get("kind") or USER,
        }
        return {**made, "rolloutBucketBy": now["by"]} if now.get("by") else made

    def as_percentage(self, flag: Flag) -> Flag:
        """Return a flag whose last rule is our own bucket as what that is: a percentage."""
        if not self.portable:
            return flag
        rule, rest = self.kept["rules"][-1], self.kept["fallthrough"]["variation"]
        (weight,) = rule["clauses"][0]["values"]
        shares = (
            Weight(self.names[rule["serve"]["variation"]], weight),
            Weight(self.names[rest], WHOLE - weight),
        )
        return replace(flag, rules=flag.rules[:-1], default=Split(shares))

    def moves(self, wanted: Mapping[int, list[str]]) -> list[Instruction]:
        """Return the instructions that make user targets these: what leaves, leaves first."""
        made: list[Instruction] = []
        for kind in ("removeTargets", "addTargets"):
            for place, name in enumerate(self.ids):
                old = set(self.kept["targets"].get(place, ()))
                new = set(wanted.get(place, ()))
                values = sorted(old - new if kind == "removeTargets" else new - old)
                if values:
                    made.append(
                        {"kind": kind, "variationId": name, "contextKind": USER, "values": values}
                    )
        return made

    def served(self, asked: Instruction) -> dict[str, Any]:
        """Return how what a patch asks for is shown afterwards."""
        if "variationId" in asked:
            return {"variation": self.ids.index(asked["variationId"])}
        weights = {self.ids.index(key): one for key, one in asked["rolloutWeights"].items()}
        return _plain_serve(
            {
                "rollout": {
                    "contextKind": asked.get("rolloutContextKind"),
                    "bucketBy": asked.get("rolloutBucketBy"),
                    "variations": [{"variation": one, "weight": weights[one]} for one in weights],
                }
            }
        )

    def rule(self, asked: Instruction) -> dict[str, Any]:
        """Return how a rule that a patch asks for is shown afterwards."""
        return _plain_rule({**asked, **self.served(asked)})


def portable_clause(key: str, weight: int) -> dict[str, Any]:
    """Return the clause that matches the users whose bucket lies below a weight."""
    return {
        "contextKind": USER,
        "attribute": portable_attribute(key),
        "op": "lessThan",
        "values": [weight],
        "negate": False,
    }


def _plain_serve(serve: Mapping[str, Any]) -> dict[str, Any]:
    if serve.get("variation") is not None:
        return {"variation": serve["variation"]}
    rollout = serve.get("rollout") or {}
    weights = sorted([one["variation"], one["weight"]] for one in rollout.get("variations") or [])
    return {
        "kind": rollout.get("contextKind") or USER,
        "by": rollout.get("bucketBy"),
        "weights": [one for one in weights if one[1]],
        "beside": rollout.get("kind") == "experiment" or rollout.get("seed") is not None,
    }


def _plain_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    clauses = [
        {name: value for name, value in one.items() if name != "_id"} for one in rule["clauses"]
    ]
    return {
        "description": rule.get("description") or "",
        "clauses": clauses,
        "serve": _plain_serve(rule),
    }
