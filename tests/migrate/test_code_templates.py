"""The tags of django-waffle in templates."""

import pytest

from downhaul.migrate.code import find_references

LOADED = "{% load static waffle_tags %}\n"


@pytest.fixture
def scan_template(tmp_path):
    def scanned(text, name="page.html"):
        (tmp_path / name).write_text(text)
        return [
            (one.call, one.keys or one.dynamic or one.bulk, one.certainty.value)
            for one in find_references(tmp_path)
        ]

    return scanned


@pytest.mark.parametrize("sort", ["flag", "switch", "sample"])
@pytest.mark.parametrize("name", ["page.html", "mail.txt", "deep.jinja2"])
def test_a_tag_names_a_flag(scan_template, sort, name):
    text = f"{LOADED}<p>{{% {sort} 'my key' %}}a{{% else %}}b{{% end{sort} %}}</p>"
    assert scan_template(text, name) == [(f"{{% {sort} %}}", ("my key",), "proven")]


@pytest.mark.parametrize(
    "tag, row",
    [
        ("{% flag k %}", ("{% flag %}", ("k",), "likely")),
        ('{%switch  "k"%}', ("{% switch %}", ("k",), "proven")),
        ("{%- flag 'k' -%}", ("{% flag %}", ("k",), "proven")),
        ("{% flag name|lower %}", ("{% flag %}", "name|lower", "likely")),
        ("{% flag 'a'|add:b %}", ("{% flag %}", "'a'|add:b", "likely")),
        ("{% wafflejs %}", ("{% wafflejs %}", "all flags", "proven")),
        ("{% if waffle.flag('k') %}", ("waffle.flag", ("k",), "likely")),
        ("{{ waffle.switch(name) }}", ("waffle.switch", "name", "likely")),
    ],
)
def test_tags_are_read(scan_template, tag, row):
    assert scan_template(LOADED + tag) == [row]


@pytest.mark.parametrize(
    "text",
    [
        "{# {% flag 'k' %} #}",
        "{% comment %}{% flag 'k' %}{% endcomment %}",
        "{% verbatim %}{% flag 'k' %}{% endverbatim %}",
        "{% raw %}{{ waffle.flag('k') }}{% endraw %}",
        "{% flag %}",
        "{% endflag %}{% flagged 'k' %}",
        "waffle.flag('k')",
    ],
)
def test_what_is_no_tag_is_not_counted(scan_template, text):
    assert not scan_template(LOADED + text)


def test_a_tag_that_nothing_here_loads_is_likely(scan_template):
    assert scan_template("{% switch 'k' %}") == [("{% switch %}", ("k",), "likely")]


def test_a_place_is_the_line_and_column_of_the_tag(tmp_path):
    (tmp_path / "templates").mkdir()
    text = "{% load waffle_tags %}\r\n\r\n  é{% flag 'k' %}"
    (tmp_path / "templates" / "a.html").write_bytes(text.encode())
    (one,) = find_references(tmp_path)
    assert one.place == "templates/a.html:3:4"


def test_a_template_of_any_encoding_is_read(tmp_path):
    (tmp_path / "a.html").write_bytes(b"\xe9{% load waffle_tags %}{% flag 'k' %}")
    assert [one.keys for one in find_references(tmp_path)] == [("k",)]
