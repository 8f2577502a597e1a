"""Rule E9: a translated document decides as the engine of Unleash's own SDK.

The engine comes with UnleashClient, which is no dependency of the tests: it is there once
``make bench`` has installed it, and this module is skipped until then. What the other modules
expect here was written down from the same engine.
"""

import json

import pytest
from downhaul_unleash.translate import context_from, flags_from
from hypothesis import given, settings
from hypothesis import strategies as st
from unleash_documents import contexts, documents

from downhaul import Flags

engine = pytest.importorskip("yggdrasil_engine.engine", reason="UnleashClient is not installed")


def answers(known, name, context):
    """The engine's answers: whether it is enabled, and the variant's name and payload."""
    enabled = known.is_enabled(name, context)
    variant = known.get_variant(name, context)
    variant = getattr(variant, "variant", variant)
    if variant is None or not variant.enabled:
        return getattr(enabled, "is_enabled", enabled), None, None
    payload = variant.payload["value"] if variant.payload else None
    return getattr(enabled, "is_enabled", enabled), variant.name, payload


def is_payload(value, payload):
    return payload in (None, value) or (not isinstance(value, str) and value == json.loads(payload))


@pytest.mark.rule("E9")
@settings(max_examples=100)
@given(documents(), st.lists(contexts, min_size=5, max_size=10))
@pytest.mark.slow
def test_decisions_and_variants_are_those_of_the_engine(document, asked):
    known = engine.UnleashEngine()
    known.take_state(json.dumps(document))
    made = flags_from(document)
    with Flags.in_memory(made.flags, segments=made.segments) as flags:
        for context in asked:
            for flag in made.flags:
                enabled, name, payload = answers(known, flag.key, context)
                ours = context_from(context)
                result = flags.evaluate(flag.key, ours)
                assert flags.is_enabled(flag.key, ours) == enabled, (flag.key, context)
                if name is None:
                    assert (result.variant != flag.off_variant) == enabled
                else:
                    assert result.variant == name or result.variant.startswith(f"{name}-")
                    assert is_payload(result.value, payload)
