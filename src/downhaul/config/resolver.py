"""The resolver: sources in rising precedence, one leaf at a time, to settings or to every problem.

Precedence, from the lowest: defaults, file, environment, arguments. What was written for a provider
goes with its URL: where a higher source names another provider, the options of the lower ones are
left out, because they are not its own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from downhaul.config.beside import parts_of, passwords_in, places
from downhaul.config.merge import BACKENDS, CONTROL_URL, URL, WRAP, Draft, all_sources, draft_of
from downhaul.config.options import checked, checked_wrapper
from downhaul.config.schema import (
    BackendEntry,
    Document,
    PolicyTable,
    did_you_mean,
    dotted,
    problems_of,
)
from downhaul.config.secret import Secret
from downhaul.config.settings import (
    BackendSettings,
    ControlSettings,
    Declaration,
    PolicySettings,
    ProviderSettings,
    RolloutSettings,
    Settings,
    secrets_in,
    with_secrets,
)
from downhaul.config.sinks import alert_settings, is_address, problems_in, unusable
from downhaul.config.sources import Where
from downhaul.config.urls import absolute, encoded, is_ambiguous, local_path, redacted, scheme_of
from downhaul.errors import ConfigError, Problem, ProviderNotFound
from downhaul.hookspecs import ProviderSpec
from downhaul.plugins.build import known_wrappers
from downhaul.plugins.known import KNOWN, WRAPPERS, reached_by
from downhaul.plugins.registry import registry

_OWN: Final = frozenset({"url", "wrap"})


def resolve(
    url_or_settings: str | Mapping[str, Any] | Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    file: str | os.PathLike[str] | None = None,
    leave_out: Collection[str] = (),
    **keywords: Any,
) -> Settings:
    """Return the settings that file, environment and arguments make.

    ``url_or_settings`` is a URL, a mapping shaped as the file, or Settings, which are returned as
    they are. ``file`` is the configuration file, instead of ``DOWNHAUL_CONFIG`` or the one found
    upwards of ``directory`` (the working directory unless given). ``leave_out`` names tables that
    are not read, right or wrong. Keywords: ``url``, ``wrap``, ``control_url``,
    ``on_unknown_kills``, ``kill_file``, ``kill``, ``environment``, ``application``, ``cache_dir``,
    and the tables ``provider``, ``control``, ``policy`` and ``flags``; None is not given.

    Contacts nothing and loads no plugin. Raises ConfigError, which lists every problem at once.
    """
    if isinstance(url_or_settings, Settings):
        given = {name: value for name, value in keywords.items() if value is not None}
        if not given:
            return url_or_settings
        names = ", ".join(given)
        message = f"settings are whole, and take no {names} beside them"
        raise ConfigError(message, hint="use dataclasses.replace on the settings")
    draft, document = _draft(url_or_settings, environ, directory, file, keywords, leave_out)
    if document is None or draft.problems:
        raise ConfigError(_count(draft.problems), _in_order(draft.problems))
    return _settings(draft, document)


def check(
    url_or_settings: str | Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    file: str | os.PathLike[str] | None = None,
    **keywords: Any,
) -> list[Problem]:
    """Return every problem of a configuration, those with its plugins included.

    Takes what :func:`resolve` takes; loads the plugins that it names, and contacts nothing.
    """
    draft, _ = _draft(url_or_settings, environ, directory, file, keywords)
    _check_plugins(draft)
    _check_sinks(draft)
    return _in_order(draft.problems)


def _draft(
    given: object,
    environ: Mapping[str, str] | None,
    directory: str | os.PathLike[str] | None,
    file: str | os.PathLike[str] | None,
    keywords: Mapping[str, Any],
    leave_out: Collection[str] = (),
) -> tuple[Draft, Document | None]:
    if not isinstance(given, str | Mapping | None):
        message = f"cannot read settings from {type(given).__name__}"
        raise ConfigError(message, hint="pass a URL, a mapping shaped as the file, or Settings")
    environ = os.environ if environ is None else environ
    here = Path(directory or ".").absolute()
    draft = draft_of(all_sources(given, environ, here, file, keywords), environ)
    for table in leave_out:
        draft.forget(table)
    _check_urls(draft)
    for path, message, hint in problems_in(draft.values):
        if path not in draft.unread:
            draft.blame(path, message, hint)
    document = _validate(draft)
    _check_wraps(draft)
    return draft, document


def _check_urls(draft: Draft) -> None:
    others = [path for place in places(draft.values.get(WRAP)) for path in place]
    others += [(BACKENDS, name, "url") for name in _named(draft)]
    for path in (URL, CONTROL_URL, *others):
        value = draft.values.get(path)
        url = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(url, str):
            continue
        if not scheme_of(url):
            draft.blame(path, f'missing scheme: "{redacted(url)}"', _scheme_hint(url))
        elif is_ambiguous(url):
            hint = "percent-encode the password: @ is %40, / is %2F, : is %3A, # is %23, ? is %3F"
            draft.blame(path, f'has several readings: "{redacted(url)}"', hint)
        elif reached_by(scheme_of(url)) == "file" and local_path(url) is None:
            draft.blame(path, f'names no file here: "{redacted(url)}"', "write file:flags.toml")
        else:
            draft.values[path] = absolute(encoded(url), draft.leaves[path].directory)


def _scheme_hint(url: str) -> str:
    if url.endswith((".toml", ".json", ".yaml", ".yml")):
        return f"write file:{url}"
    if url.endswith((".db", ".sqlite", ".sqlite3")):
        return f"write sqlite:///{url}"
    return f"write a scheme before it, such as {', '.join(f'{name}://' for name in sorted(KNOWN))}"


def _nested(draft: Draft) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in draft.values.items():
        table = tree
        for part in path[:-1]:
            table = table.setdefault(part, {})
        is_ours = path[0] not in ("provider", BACKENDS) or path[-1:] == ("url",)
        is_ours = is_ours and not is_address(path)
        table[path[-1]] = value.reveal() if is_ours and isinstance(value, Secret) else value
    return tree


def _validate(draft: Draft) -> Document | None:
    broken = [f"{problem.path}." for problem in draft.problems]
    try:
        return Document.model_validate(_nested(draft))
    except ValidationError as error:
        found = problems_of(error, Document, draft.origins)
        draft.problems += [  # a table is "missing" where all in it could not be read
            one for one in found if not any(path.startswith(f"{one.path}.") for path in broken)
        ]
        return None


def _check_wraps(draft: Draft) -> None:
    names = draft.values.get(WRAP, [])
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and name not in WRAPPERS:
            hint = did_you_mean(name, WRAPPERS) or known_wrappers()
            draft.blame(WRAP, f'no wrapper is called "{name}"', hint)


def _settings(draft: Draft, document: Document) -> Settings:
    control = document.control
    wrap = tuple(document.provider.wrap)
    extra = with_secrets(document.provider.model_extra or {})
    options = {name: value for name, value in extra.items() if name not in wrap}
    wrappers = {name: value for name, value in extra.items() if name in wrap}
    provider = ProviderSettings(
        url=document.provider.url,
        options=options,
        wrap=wrap,
        wrappers=wrappers,
        directory=draft.leaves[URL].directory,
        directories={
            path[1]: draft.leaves[path].directory
            for place in places(wrap)
            for path in place
            if path in draft.leaves
        },
        secrets=secrets_in(extra) | passwords_in(wrap, wrappers),
    )
    return Settings(
        provider=provider,
        control=ControlSettings(
            url=control.url,
            on_unknown_kills=control.on_unknown_kills,
            kill_file=_path(draft, ("control", "kill_file"), control.kill_file),
            kill_names=control.kill,
        ),
        policy=_policy(document.policy),
        application=document.application.strip(),
        alerts=alert_settings(document.alerts, draft.unread),
        rollout=RolloutSettings(
            _path(draft, ("rollout", "templates"), document.rollout.templates),
            {name: tuple(who) for name, who in document.rollout.groups.items()},
        ),
        environment=document.environment,
        flags={
            key: Declaration(**{**dict(one), "tags": tuple(one.tags)})
            for key, one in document.flags.items()
        },
        backends={name: _backend(draft, name, one) for name, one in document.backends.items()},
        cache_dir=_path(draft, ("cache_dir",), document.cache_dir or None),
        origins={dotted(path): origin for path, origin in draft.origins.items()},
        notes=tuple(draft.notes),
    )


def _backend(draft: Draft, name: str, table: BackendEntry) -> BackendSettings:
    options = with_secrets(table.model_extra or {})
    under = (BACKENDS, name)
    leaf = draft.leaves.get((*under, "url"))
    made = ProviderSettings(
        url=table.url,
        options=options,
        directory=Path() if leaf is None else leaf.directory,
        secrets=secrets_in(options),
    )
    unread = (one for path, one in draft.unread.items() if path[:2] == under)
    return BackendSettings(made, tuple(unread))


def _policy(table: PolicyTable) -> PolicySettings:
    return PolicySettings(
        revive_needs_second_person=table.revive_needs_second_person,
        alone_after=table.alone_after,
        may_revive=None if table.may_revive is None else tuple(table.may_revive),
        may_promote_full=None if table.may_promote_full is None else tuple(table.may_promote_full),
        refuse_login_names=table.refuse_login_names,
        ttl_at_most=table.ttl_at_most,
    )


def _path(draft: Draft, path: Where, text: str | None) -> Path | None:
    return None if text is None else draft.leaves[path].directory / Path(text).expanduser()


def _check_plugins(draft: Draft) -> None:
    """Add what is wrong with the plugins that the URLs name, and with what they are given."""
    own: ProviderSpec | None = None
    for path in (URL, CONTROL_URL):
        scheme = scheme_of(str(draft.values.get(path) or ""))
        if not scheme:
            continue
        try:
            spec = registry().spec_for(scheme)
        except ProviderNotFound as error:
            draft.blame(path, error.message, error.hint)
            continue
        if path == URL:
            own = spec
            _add(draft, checked(spec, _options(draft), draft.origins)[1])
    _check_wrappers(draft, own)
    _check_backends(draft)


def _check_backends(draft: Draft) -> None:
    tables = _nested(draft).get(BACKENDS, {})
    told = {one.path for one in draft.problems}
    for name in _named(draft):
        if dotted((BACKENDS, name, "url")) in told:
            continue
        url, options = parts_of(tables[name])
        path = (BACKENDS, name)
        if url is None:
            if (*path, "url") not in draft.unread:
                draft.blame((*path, "url"), "is missing", "write the URL of the backend")
            continue
        try:
            spec = registry().spec_for(scheme_of(url))
        except ProviderNotFound as error:
            draft.blame((*path, "url"), error.message, error.hint)
            continue
        own = {key: with_secrets(value, key) for key, value in options.items()}
        _add(draft, checked(spec, own, draft.origins, under=path)[1])


def _named(draft: Draft) -> list[str]:
    """Return the names of the backends that have tables."""
    paths = [path for path in draft.leaves if path[0] == BACKENDS and len(path) > 2]  # noqa: PLR2004
    return list(dict.fromkeys(path[1] for path in paths))


def _check_sinks(draft: Draft) -> None:
    """Add the sinks that nothing here can send to, and the URLs of sinks that can't be read."""
    draft.problems += draft.unread.values()
    for path, message, hint in unusable(draft.values):
        draft.blame(path, message, hint)


def _check_wrappers(draft: Draft, around: ProviderSpec | None) -> None:
    table = _nested(draft).get("provider", {})
    names = table.get("wrap") if isinstance(table, Mapping) else None
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name in WRAPPERS:
            own = with_secrets(table.get(name, {}), name)
            _add(draft, checked_wrapper(WRAPPERS[name], around, own, draft.origins)[1])


def _add(draft: Draft, problems: Iterable[Problem]) -> None:
    """Add problems, but none with what could not be read: that it is missing follows."""
    known = {one.path for one in draft.problems}
    draft.problems += [one for one in problems if one.path not in known]


def _options(draft: Draft) -> Mapping[str, Any]:
    table = _nested(draft).get("provider", {})
    wrap = table.get("wrap") or ()
    return {
        name: with_secrets(value, name)
        for name, value in table.items()
        if name not in _OWN and name not in wrap
    }


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems as they stand in the file, one line after the other."""

    def place(problem: Problem) -> tuple[str, int]:
        where, _, line = problem.origin.rpartition(":")
        return (where, int(line)) if line.isdigit() else (problem.origin, 0)

    return sorted(problems, key=place)


def _count(problems: Sequence[Problem]) -> str:
    many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{many} in the configuration; nothing was started"
