"""OpenFeature's SDK with its provider in memory, which leaves deciding to a function of ours.

That function is the floor's, so what is measured is the SDK's own way around it.
"""

from __future__ import annotations

from functools import partial

import case
import mmh3
from contestant import Measure, Prepared
from floor import Flag
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider


def prepare() -> Prepared:
    """Load the flags, and make the contexts beforehand."""
    provider = InMemoryProvider({plain.key: _flag(plain) for plain in case.flags()})
    api.set_provider_and_wait(provider) if hasattr(api, "set_provider_and_wait") else (
        api.set_provider(provider)
    )
    client = api.get_client()
    contexts = [EvaluationContext(targeting_key=user) for user in case.USERS]
    flag = case.FLAG

    def run() -> None:
        for context in contexts:
            client.get_boolean_value(flag, False, context)

    return Prepared(
        {"case": Measure(run, len(contexts))},
        lambda: [client.get_boolean_value(flag, False, context) for context in contexts],
        "openfeature-sdk",
    )


def _flag(plain: case.Plain) -> InMemoryFlag[bool]:
    return InMemoryFlag(
        "off", {"on": True, "off": False}, context_evaluator=partial(_decide, Flag(plain))
    )


def _decide(
    flag: Flag, known: InMemoryFlag[bool], context: EvaluationContext
) -> FlagResolutionDetails[bool]:
    user = context.targeting_key or ""
    if user in flag.targets:
        return FlagResolutionDetails(True, reason=Reason.TARGETING_MATCH, variant="on")
    key = user.encode()
    on = mmh3.mmh3_32_uintdigest(flag.heads[len(key)] + key) < flag.limit
    variant = "on" if on else "off"
    return FlagResolutionDetails(known.variants[variant], reason=Reason.SPLIT, variant=variant)
