"""A flag as LaunchDarkly's REST API shows it, and how its parts are asked for in a patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import USER, WHOLE, Flag, FlagKind, Split, Weight
from downhaul.provider import portable_attribute
from downhaul_launchdarkly.known import kind_of, names_of
from downhaul_launchdarkly.translate import as_sent

Instruction = dict[str, Any]
PORTABLE: Final = "downhaul:portable"
"""The description of the rule that serves by our own bucket."""


class Stored:
    """A flag as the REST API shows it, and how its parts are asked for in a patch."""

    def __init__(self, document: Mapping[str, Any], environment: str) -> None:
        self.sent = as_sent(document, environment)
        self.key: str = self.sent["key"]
        self.version = str(self.sent["version"])
        self.ids: list[str] = [one["_id"] for one in document["variations"]]
        self.names = names_of(self.sent["variations"], kind_of(self.sent["variations"]))
        self.beside = [
            self.sent["prerequisites"] or [],
            [one for one in self.sent["contextTargets"] or [] if one["values"]],
        ]
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

    def as_percentage(self, flag: Flag) -> Flag:
        """Return a flag whose one rule is our own bucket as what that is: a percentage."""
        rules = self.kept["rules"]
        rest = self.kept["fallthrough"].get("variation")
        if len(rules) != 1 or rules[0]["description"] != PORTABLE or rest is None:
            return flag
        (clause,), serve = rules[0]["clauses"], rules[0]["serve"]
        if clause["attribute"] != portable_attribute(self.key) or "variation" not in serve:
            return flag
        (weight,) = clause["values"]
        shares = (
            Weight(self.names[serve["variation"]], weight),
            Weight(self.names[rest], WHOLE - weight),
        )
        return replace(flag, rules=(), default=Split(shares))

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
                    "variations": [{"variation": one, "weight": weights[one]} for one in weights],
                }
            }
        )

    def rule(self, asked: Instruction) -> dict[str, Any]:
        """Return how a rule that a patch asks for is shown afterwards."""
        return _plain_rule({**asked, **self.served(asked)})

    def asked(self, rule: Mapping[str, Any]) -> Instruction:
        """Return how a rule is asked for in a patch."""
        parts = {name: rule[name] for name in ("description", "clauses")}
        return {**parts, **self.asked_serve(rule["serve"])}

    def asked_serve(self, serve: Mapping[str, Any]) -> Instruction:
        """Return how a variation or a rollout is asked for. Raises Refused for an experiment."""
        if "variation" in serve:
            return {"variationId": self.ids[serve["variation"]]}
        if serve["beside"]:
            message = f'flag "{self.key}" has an experiment or a seed, which no patch brings back'
            raise Refused(message, flag=self.key, hint="bring it back in LaunchDarkly")
        weights = {self.ids[place]: weight for place, weight in serve["weights"]}
        made: Instruction = {"rolloutWeights": weights, "rolloutContextKind": serve["kind"]}
        return {**made, "rolloutBucketBy": serve["by"]} if serve["by"] else made


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
