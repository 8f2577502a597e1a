"""Split's own evaluator over a document, without any service: what translation must agree with."""

import queue

from splitio.engine.evaluator import EvaluationDataFactory, Evaluator
from splitio.engine.splitters import Splitter
from splitio.models import rule_based_segments, segments, splits
from splitio.models.fallback_config import (
    FallbackTreatmentCalculator,
    FallbackTreatmentsConfiguration,
)
from splitio.storage.inmemmory import (
    InMemoryRuleBasedSegmentStorage,
    InMemorySegmentStorage,
    InMemorySplitStorage,
)


class Oracle:
    """Decides as the SDK does."""

    def __init__(self, document):
        news = queue.Queue()
        flags = InMemorySplitStorage(news)
        keys = InMemorySegmentStorage(news)
        rules = InMemoryRuleBasedSegmentStorage(news)
        flags.update([splits.from_raw(one) for one in document["ff"]["d"]], [], 1)
        rules.update(
            [rule_based_segments.from_raw(one) for one in document.get("rbs", {}).get("d", [])],
            [],
            1,
        )
        for name, members in document.get("segments", {}).items():
            keys.put(segments.from_raw({"name": name, "added": members, "removed": [], "till": 1}))
        self._contexts = EvaluationDataFactory(flags, keys, rules)
        fallback = FallbackTreatmentCalculator(FallbackTreatmentsConfiguration(None))
        self._evaluator = Evaluator(Splitter(), fallback)

    def treatment(self, name, key, attributes):
        """Return the treatment of one flag for one user."""
        context = self._contexts.context_for(key, [name])
        found = self._evaluator.eval_with_context(key, None, name, attributes, context)
        return found["treatment"]
