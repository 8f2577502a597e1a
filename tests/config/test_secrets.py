"""A secret is never shown: not in a repr, a log, an error, a traceback or a report (rule P7)."""

import copy
import json
import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from downhaul import config
from downhaul.config.urls import encoded, redacted, secrets_of
from downhaul.errors import ConfigError, DownhaulError
from downhaul.hookspecs import ProviderSpec
from downhaul.plugins.build import _make

PLANTED = "s3cr3t-Planted"

pytestmark = pytest.mark.rule("P7")

_SECOND = '[provider]\nurl = "acme://x"\nwrap = ["failover"]\nfailover.to = {}'
PLACES = {
    "password of a URL": f'[provider]\nurl = "acme://user:{PLANTED}@host/x"',
    "user of a URL": f'[provider]\nurl = "acme://{PLANTED}@host/x"',
    "parameter of a URL": f'[provider]\nurl = "acme://host/x?api_key={PLANTED}&a=b"',
    "URL of the control store": f'[control]\nurl = "postgresql://user:{PLANTED}@host/x"',
    "URL in a variable": '[provider]\nurl = { env = "URL_WITH_SECRET" }',
    "token": f'[provider]\nurl = "acme://x"\ntoken = "{PLANTED}"',
    "token in a variable": '[provider]\nurl = "acme://x"\nanything = { env = "PLANTED" }',
    "token in a file": '[provider]\nurl = "acme://x"\nanything = { file = "planted" }',
    "token in a table": f'[provider]\nurl = "acme://x"\n[provider.deep]\nsdk_key = "{PLANTED}"',
    "list of tokens": f'[provider]\nurl = "acme://x"\ntokens = ["{PLANTED}"]',
    "password of a second backend": _SECOND.format(f'"acme://user:{PLANTED}@host/x"'),
    "URL of a second backend in a variable": _SECOND.format('{ env = "URL_WITH_SECRET" }'),
    "password of a second backend in a table": _SECOND.format(
        f'{{ url = "acme://user:{PLANTED}@host/x", retries = 3 }}'
    ),
    "token of a second backend": _SECOND.format(f'{{ url = "acme://x", sdk_key = "{PLANTED}" }}'),
    "token of a second backend in a variable": _SECOND.format(
        '{ url = "acme://x", anything = { env = "PLANTED" } }'
    ),
    "token said again": f'[provider]\nurl = "acme://x/{PLANTED}"\ntoken = "{PLANTED}"',
}


@pytest.fixture
def secretive(place):
    place.write(f"{PLANTED}\n", "planted")
    place.environ |= {"URL_WITH_SECRET": f"acme://user:{PLANTED}@host", "PLANTED": PLANTED}
    return place


def outputs(made):
    yield repr(made)
    yield str(made)
    yield f"{made} {made.provider!r} {made.control!r} {made.provider.options!r}"
    yield repr([made.provider.safe_url, made.control.safe_url])
    yield json.dumps([[row.path, row.value, row.origin] for row in config.show(made)])
    yield repr(made.origins) + repr(made.notes)


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_settings_show_no_secret_and_hold_it(secretive, caplog, text):
    secretive.write(text)
    with caplog.at_level(logging.DEBUG):
        made = secretive.resolve()
        for output in outputs(made):
            assert PLANTED not in output
    assert PLANTED not in caplog.text
    assert made.redact(f"driver says: {PLANTED}!") == "driver says: ***!"


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_problems_show_no_secret(secretive, text):
    secretive.write(text + "\n[flags.x]\nkind = 3\n")
    with pytest.raises(ConfigError) as caught:
        secretive.resolve()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PLANTED not in told
    assert PLANTED not in "".join(map(str, secretive.check()))


@pytest.mark.parametrize(
    "url",
    [
        f"user:{PLANTED}@host/x",
        f"acme://user:a@{PLANTED}/b@host/x",
        f"acme://host?password={PLANTED}@x/y",
    ],
)
def test_a_url_that_cannot_be_used_shows_no_secret(place, url):
    told = "".join(map(str, place.check(url)))
    assert told
    assert PLANTED not in told


def failing_factory(settings):
    raise RuntimeError(f"connection to {settings.provider.url} failed")


def failing_politely(settings):
    raise DownhaulError("no")


def test_what_a_factory_raises_names_the_provider_and_no_secret(place):
    made = place.resolve(f"acme://user:{PLANTED}@host/x")
    spec = ProviderSpec(name="acme", schemes=("acme",), factory=f"{__name__}:failing_factory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("downhaul.plugins.build.load", lambda path: failing_factory)
        with pytest.raises(DownhaulError, match="acme") as caught:
            _make(spec, made)
        told = "".join(traceback.format_exception(caught.value))
        patch.setattr("downhaul.plugins.build.load", lambda path: failing_politely)
        with pytest.raises(DownhaulError) as polite:
            _make(spec, made)
    assert PLANTED not in told
    assert "RuntimeError" in told
    assert caught.value.provider == polite.value.provider == "acme"


# The type


def test_a_secret_hides_itself_and_is_given_when_asked():
    one = config.Secret(PLANTED)
    assert PLANTED not in f"{one} {one!r} {one!s} {[one]} {one:>10}"
    assert one.reveal() == PLANTED
    assert one == config.Secret(PLANTED)
    assert one != config.Secret("other")
    assert one != PLANTED
    assert len({one, config.Secret(PLANTED)}) == 1
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one


class Options(BaseModel):
    token: config.Secret


def test_a_model_takes_a_secret_or_a_string():
    assert Options(token=PLANTED).token.reveal() == PLANTED
    assert Options(token=config.Secret(PLANTED)).token.reveal() == PLANTED
    assert PLANTED not in repr(Options(token=PLANTED)) + Options(token=PLANTED).model_dump_json()
    with pytest.raises(ValueError, match="must be a string"):
        Options(token=3)


# URLs

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=4, max_size=12)


@given(password=PASSWORDS.filter(lambda text: "@" not in text))
def test_a_raw_password_of_any_characters_reaches_the_driver_as_it_was_meant(password):
    raw = password.replace("%", "%25")  # the one character that is never taken as it stands
    url = make_url(encoded(f"postgresql://user:x{raw}@host/db"))
    assert (url.password, url.host, url.database) == (f"x{password}", "host", "db")


@given(password=PASSWORDS)
def test_a_raw_password_of_any_characters_is_not_shown(password):
    url = f"postgresql://user:x{password}@host.example/db"
    assert f"x{password}" not in redacted(url)
    assert redacted(url).startswith("postgresql://user:***@")
    assert redacted(encoded(url)).startswith("postgresql://user:***@")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://alice@host/db", "postgresql://alice@host/db"),
        ("unleash+https://tok@host/api", "unleash+https://***@host/api"),
        ("acme://host:80/a?token=x&b=c", "acme://host:80/a?token=***&b=c"),
        ("postgresql://u:p%40q@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("memory:", "memory:"),
    ],
)
def test_the_rest_of_a_url_is_shown(url, shown):
    assert redacted(url) == shown


def test_a_secret_is_known_as_it_is_written_and_as_it_is_decoded():
    assert {"p%40q", "p@q"} <= secrets_of("postgresql://u:p%40q@h/d")


@pytest.mark.parametrize(
    "url",
    ["https://host:8080/a@b", "postgresql://u:p%2Fw@h/d?o=a@b", "https://[::1]/a@b", "memory:"],
)
def test_a_url_that_can_be_read_stays_as_it_is(url):
    assert encoded(url) == url


def test_a_password_that_could_as_well_begin_a_path_is_a_problem(place):
    with pytest.raises(ConfigError) as caught:
        place.resolve(f"postgresql://u:p@{PLANTED}/w@host/db")
    [problem] = caught.value.problems
    assert "percent-encode" in problem.hint
    assert PLANTED not in str(problem)
