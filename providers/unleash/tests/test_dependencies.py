"""Rule E9: a feature that depends on others is on as in Unleash."""

import pytest

pytestmark = pytest.mark.rule("E9")
DEFAULT = {"name": "default"}
FOR_ANNA = {"name": "userWithId", "parameters": {"userIds": "anna"}}


def parent(*strategies, name="p", **fields):
    return {"name": name, "enabled": True, "strategies": list(strategies), **fields}


@pytest.fixture
def child(feature):
    """A feature that depends on a feature ``p``."""

    def ask(one, **needed):
        others = [] if one is None else [one]
        return feature(DEFAULT, others=others, dependencies=[{"feature": "p", **needed}])

    return ask


def test_a_child_is_on_where_its_parent_is(child):
    found = child(parent(FOR_ANNA))
    assert found.enabled(userId="anna")
    assert not found.enabled(userId="ben")
    assert not child(parent(DEFAULT, enabled=False)).enabled(userId="anna")


def test_a_dependency_that_a_server_tells_once_for_each_strategy_is_one(feature):
    needed = [{"feature": "p"}, {"feature": "p"}]
    found = feature(DEFAULT, others=[parent(FOR_ANNA)], dependencies=needed)
    assert len(found.flag().prerequisites) == 1


def test_a_child_may_ask_that_its_parent_is_not_on(child):
    found = child(parent(FOR_ANNA), enabled=False)
    assert not found.enabled(userId="anna")
    assert found.enabled(userId="ben")
    assert child(parent(DEFAULT, enabled=False), enabled=False).enabled()


def test_a_child_may_ask_for_variants(child):
    def serving(name):
        return parent({**DEFAULT, "variants": [{"name": name, "weight": 1}]})

    assert child(serving("red"), variants=["red", "blue"]).enabled()
    assert not child(serving("green"), variants=["red", "blue"]).enabled()


def test_a_parent_without_variants_passes_whatever_variants_are_asked_for(child):
    assert child(parent(DEFAULT), variants=["red"]).enabled()
    mixed = parent({**FOR_ANNA, "variants": [{"name": "green", "weight": 1}]}, DEFAULT)
    found = child(mixed, variants=["red"])
    assert found.enabled(userId="ben")
    assert not found.enabled(userId="anna")


@pytest.mark.rule("M1")
def test_a_parent_that_is_not_there_keeps_the_child_off_and_is_told(child):
    found = child(None)
    assert not found.enabled()
    assert 'no feature "p"' in found.told("partial")[0].reason
    assert not child(None, enabled=False).enabled()


@pytest.mark.rule("M1")
def test_a_parent_with_a_parent_keeps_the_child_off_and_is_told(child):
    found = child(parent(DEFAULT, dependencies=[{"feature": "f"}]))
    assert not found.enabled()
    assert not found.enabled("p")
    assert "depends on a feature itself" in found.told("partial")[0].reason


@pytest.mark.rule("M1")
def test_a_parent_hashed_under_the_childs_name_is_told(child):
    half = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "userId"}}
    assert "groupId" in child(parent(half)).told("partial")[0].reason


@pytest.mark.rule("M1")
def test_asking_for_variants_of_a_parent_that_is_not_on_is_told(child):
    found = child(
        parent(FOR_ANNA, variants=[{"name": "red", "weight": 1}]), enabled=False, variants=["red"]
    )
    assert found.told("partial")
