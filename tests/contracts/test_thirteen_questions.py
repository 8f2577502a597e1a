"""Thirteen questions that SDKs of one interface answer differently, asked of every backend."""

import json
from pathlib import Path

import pytest
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.questions import QUESTIONS, REPORT, ask
from questions_backends import *  # noqa: F403  (its fixtures, whatever backends there are)
from questions_backends import ASKED

PUBLISHED = Path(__file__).parents[2] / "docs" / "contract" / "questions.json"


def published():
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def names():
    return [getattr(one, "values", (one,))[0] for one in ASKED]


@pytest.mark.rule("E1", "E2", "E3", "E4", "E8")
@pytest.mark.parametrize("name", ASKED)
def test_every_backend_gives_the_same_thirteen_answers(request, name):
    backend, lacks = request.getfixturevalue(f"{name}_asked")
    assert ask(backend, lacks) == published()["answers"]


def test_the_published_table_has_thirteen_questions_and_all_who_were_asked():
    assert list(published()["answers"]) == [*(one.words for one in QUESTIONS), REPORT]
    assert len(published()["answers"]) == 13
    assert published()["asked"] == names()


def test_what_a_backend_cannot_say_it_is_not_asked(memory_asked):
    backend, lacks = memory_asked
    answers = ask(backend, {**lacks, Feature.NUMBERS: "for this test"})
    assert len(answers) == 10
    assert answers.items() < published()["answers"].items()
