"""Rule E6: what is written serves the same users through flagd's own provider, in process."""

import json

import pytest
from flagd_engine import MISSING, ours
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from downhaul import Context, Flag, Flags
from downhaul.documents.flagd import document_of
from downhaul.flag import Clause, FlagKind, FlagSet, Operator, Rule, percentage

AGENTS = Flag.boolean(
    "new_agent_version",
    percent=25,
    allow=["ann"],
    deny=["bob"],
    rules=(Rule("on", (Clause("plan", Operator.IN, ("pro",)),)),),
)
MODEL = Flag(
    key="model",
    kind=FlagKind.STRING,
    variants={"small": "s-1", "large": "l-1"},
    off_variant="small",
    default=percentage("large", 12.5, rest="small"),
    on=True,
)


@pytest.fixture
def provider(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(document_of(FlagSet.of([AGENTS, MODEL])).document))
    made = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=2000
    )
    made.initialize(EvaluationContext())
    yield made
    made.shutdown()


@pytest.mark.rule("E6")
def test_flagds_provider_serves_the_same_users_from_a_file(provider):
    keys = [None, "ann", "bob", *(f"user-{number}" for number in range(2_000))]
    contexts = [Context(key, {"plan": plan}) for key in keys for plan in ("pro", "free")]
    apart = []
    with Flags.in_memory([AGENTS, MODEL]) as flags:
        for context in contexts:
            asked = EvaluationContext(context.targeting_key, dict(context.attributes))
            agents = provider.resolve_boolean_details(AGENTS.key, MISSING, asked)
            model = provider.resolve_string_details(MODEL.key, MISSING, asked)
            for flag, found in ((AGENTS, agents), (MODEL, model)):
                if (found.variant, found.value) != ours(flags, flag.key, context):
                    apart.append((flag.key, context))
    assert apart == []
