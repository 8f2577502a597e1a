"""What docs/metric-sources.md shows is what is read, field by field."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from downhaul.analysis.http_answer import AnsweredArm, read
from downhaul.analysis.model import Window
from downhaul.analysis.sources import faults_of_metrics
from downhaul.analysis.variants import Variants
from downhaul.plugins.metric_sources import BUILTIN_SOURCES
from downhaul.plugins.specs import load

PAGE = (Path(__file__).parents[2] / "docs" / "metric-sources.md").read_text(encoding="utf-8")
SECTIONS = {
    "prometheus": "## Prometheus",
    "http": "## A service of your own",
    "datadog": "## Datadog",
    "memory": "## This process",
}


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def section(name):
    rest = PAGE.partition(f"{SECTIONS[name]}\n")[2]
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_example_is_taken(text):
    metrics = tomllib.loads(text)["metrics"]
    assert faults_of_metrics(metrics) == []
    assert text in section(metrics["source"])


def test_every_source_of_the_core_is_in_the_table():
    for name in BUILTIN_SOURCES:
        assert f"| `{name}` |" in PAGE


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_field_is_told_of(name):
    model = load(BUILTIN_SOURCES[name].settings)
    told = section(name) + PAGE.partition("## What a source does")[2].partition("\n## ")[0]
    assert [field for field in model.model_fields if f"`{field}`" not in told] == []


def test_the_answer_that_is_shown_is_taken_whole():
    (text,) = blocks("json")
    data = json.loads(text)
    window = Window(**data["window"])
    variants = Variants.read({"v2": "2.0"}, [])
    counted, arms, _ = read(data, window, (500.0, 2000.0), variants, users=True)
    assert counted == window
    assert (arms["v2"].requests, arms["v2"].slow_users[500.0]) == (120, 3)
    (arm,) = data["arms"].values()
    assert arm.keys() == AnsweredArm.model_fields.keys()
