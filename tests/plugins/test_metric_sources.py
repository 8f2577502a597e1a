"""Metric sources as plugins: found by name, and never another than the one that was named."""

import json
from textwrap import dedent

import pytest

from downhaul.analysis import sources
from downhaul.backends.sqlite import database_at
from downhaul.errors import ConfigError, DocumentError
from downhaul.plugins.metric_sources import BUILTIN_SOURCES, MetricSources
from downhaul.rollout.planfile import make_plan, parse_plan

_PLUGIN = """
    from downhaul.hookspecs import MetricSourceSpec, hookimpl

    @hookimpl
    def downhaul_metric_sources():
        return [MetricSourceSpec({fields})]
"""
_CODE = """
    from pydantic import BaseModel, ConfigDict
    from downhaul.analysis.model import Sample

    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        board: int

    class Source:
        counts_users = False

        def __init__(self, settings):
            self.settings = settings

        def probe(self, flag, thresholds, *, users=False):
            return ()

        def watermark(self):
            return self.settings.now()

        def sample(self, flag, window, thresholds, *, preview=False, users_since=None):
            return Sample(window, {}, f"board {self.settings.options.board}")

    def not_one(settings):
        return 3

    def broken(settings):
        raise RuntimeError("no board today")
"""
_PLAN = """
flag = "agent"
[[guardrails]]
measure = "error_rate"
limit = "5 %"
[metrics]
source = "{source}"
{more}
"""


@pytest.fixture
def install(site, monkeypatch):
    """Install a distribution with one metric source, and have this process find it."""

    def made(distribution="acme-metrics", name="acme", **fields):
        code = f"{distribution.replace('-', '_')}_code"
        (site.folder / f"{code}.py").write_text(dedent(_CODE))
        site.modules.append(code)
        given = {"name": f"'{name}'", "factory": f"'{code}:Source'", **fields}
        given["name"] = given.pop("called", given["name"])
        text = ", ".join(f"{field}={value}" for field, value in given.items())
        module = f"{distribution.replace('-', '_')}_plugin"
        points = f"[downhaul.metric_sources]\n{name} = {module}\n"
        site.install(distribution, name, _PLUGIN.format(fields=text), entry_points=points)
        found = MetricSources({}, [str(site.folder)])
        monkeypatch.setattr(sources, "metric_sources", lambda: found)
        return found

    return made


def made(tmp_path, **metrics):
    return sources.source_for(metrics, database_at(tmp_path / "x.db"), "production")


def test_a_source_of_others_is_found_and_made_of_its_table(install, tmp_path):
    install(settings="'acme_metrics_code:Settings'")
    source = made(tmp_path, source="acme", board=7)
    assert source.settings.options.board == 7
    assert (source.settings.name, source.settings.environment) == ("acme", "production")
    parse_plan(_PLAN.format(source="acme", more="board = 7"), "toml")


def test_without_a_model_it_gets_its_table_as_it_is(install, tmp_path):
    install()
    assert made(tmp_path, source="acme", board=[1]).settings.options == {"board": [1]}


@pytest.mark.rule("X1")
def test_what_its_model_refuses_is_told_when_the_plan_is_read(install, tmp_path):
    install(settings="'acme_metrics_code:Settings'")
    text = _PLAN.format(source="acme", more='bord = 3\nboard = "x"')
    with pytest.raises(DocumentError) as caught:
        parse_plan(text, "toml", "plan.toml")
    told = {one.path: one for one in caught.value.problems}
    assert told.keys() == {"metrics.bord", "metrics.board"}
    assert told["metrics.bord"].hint == 'did you mean "board"?'
    assert told["metrics.bord"].origin == "plan.toml:8"
    with pytest.raises(ConfigError, match=r"metrics\.bord"):
        made(tmp_path, source="acme", bord=3, board=3)


@pytest.mark.rule("X1")
@pytest.mark.parametrize("name", ["promethus", "prometheus2"])
def test_a_name_that_nobody_has_is_refused_and_never_taken_for_another(name, tmp_path):
    text = _PLAN.format(source=name, more='url = "http://metrics.internal"')
    with pytest.raises(DocumentError) as caught:
        parse_plan(text, "toml", "plan.toml")
    (one,) = caught.value.problems
    assert (one.path, one.origin) == ("metrics.source", "plan.toml:7")
    assert one.message == f'no metric source is called "{name}"'
    assert one.hint == 'did you mean "prometheus"?'
    with pytest.raises(ConfigError, match=f'called "{name}"'):
        made(tmp_path, source=name)
    with pytest.raises(DocumentError, match=r"metrics\.source"):
        make_plan(flag="agent", steps="1", error_rate="5%", metrics={"source": name})


def test_two_that_claim_one_name_are_an_error_that_names_both(install, tmp_path, caplog):
    install()
    install("other-metrics")
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, source="acme")
    text = str(caught.value)
    assert "acme-metrics 1.0 and other-metrics 1.0" in text
    assert "DOWNHAUL_DISABLE_PLUGINS" in text
    assert "two distributions claim" in caplog.text


def test_nobody_takes_a_name_of_the_core(install, tmp_path, caplog):
    found = install(name="requests")
    assert made(tmp_path, source="requests").counts_users
    assert 'metric source "requests"' in caplog.text
    mine = [one for one in found.installed() if one.name == "requests"]
    assert {one.distribution for one in mine} == {"downhaul", "acme-metrics"}


def test_a_provider_of_the_same_name_is_no_rival_and_a_source_is_no_provider(install, site):
    site.install_provider("acme-flags", "acme")
    found = install()
    assert found.spec_named("acme").factory == "acme_metrics_code:Source"
    registry = site.registry()
    assert registry.spec_named("acme").factory == "acme:create"
    assert [one.problem for one in registry.installed()] == [""] * len(registry.installed())


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"factory": "'acme_metrics_code'"}, "is not module:name"),
        ({"factory": "None"}, "is not module:name"),
        ({"settings": "'acme'"}, "is not module:name"),
        ({"interface": "2"}, "written for plugin interface 2"),
        ({"called": "'another'"}, 'one spec named "acme"'),
        ({"factory": "'nowhere_at_all:Source'"}, "cannot be imported"),
        ({"settings": "'acme_metrics_code:Nothing'"}, "cannot be imported"),
        ({"factory": "'acme_metrics_code:not_one'"}, "returned int, which has no probe"),
        ({"factory": "'acme_metrics_code:broken'"}, "cannot be made: RuntimeError: no board today"),
    ],
)
def test_a_plugin_that_says_something_unusable_is_told(install, tmp_path, fields, words):
    install(**fields)
    with pytest.raises(ConfigError, match=words):
        made(tmp_path, source="acme")


def test_what_to_install_is_told_where_the_factory_cannot_be_imported(install, tmp_path):
    install(factory="'nowhere_at_all:Source'", install_hint="\"pip install 'acme[metrics]'\"")
    with pytest.raises(ConfigError, match=r"pip install 'acme\[metrics\]'"):
        made(tmp_path, source="acme")


@pytest.mark.parametrize("variable", ["DOWNHAUL_DISABLE_PLUGINS", "DOWNHAUL_PLUGINS"])
def test_one_that_is_switched_off_says_by_what(install, site, variable):
    install()
    value = "acme-metrics" if variable == "DOWNHAUL_DISABLE_PLUGINS" else "other"
    found = MetricSources({variable: value}, [str(site.folder)])
    with pytest.raises(ConfigError, match=variable):
        found.spec_named("acme")


def test_one_that_breaks_stops_no_other(install, site):
    site.install(
        "broken-metrics",
        "broken",
        "raise SystemExit(3)",
        entry_points="[downhaul.metric_sources]\nbroken = broken_metrics_plugin\n",
    )
    found = install()
    assert found.spec_named("acme").name == "acme"
    with pytest.raises(ConfigError, match="SystemExit"):
        found.spec_named("broken")


def test_listing_names_imports_no_plugin_and_nothing_heavy(site):
    site.install(
        "acme-metrics",
        "acme",
        "raise AssertionError('imported')",
        entry_points="[downhaul.metric_sources]\nacme = acme_metrics_plugin\n",
    )
    out = site.run("""
        import json, sys
        from downhaul.plugins.metric_sources import metric_sources
        names = metric_sources().names()
        metric_sources().spec_named("requests")
        heavy = [one for one in ("sqlalchemy", "requests") if one in sys.modules]
        print(json.dumps([names, heavy]))
    """)
    names, heavy = json.loads(out)
    assert names == sorted(["acme", *BUILTIN_SOURCES])
    assert heavy == []


@pytest.mark.parametrize("name", sorted(BUILTIN_SOURCES))
def test_what_the_core_brings_can_be_imported(name):
    from downhaul.plugins.specs import load

    spec = BUILTIN_SOURCES[name]
    assert callable(load(spec.factory))
    if spec.settings is not None:
        assert load(spec.settings).model_fields
