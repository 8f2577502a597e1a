"""A backend that a wrapper names beside the provider: its URL, or a table like ``[provider]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from downhaul.config.secret import Secret
from downhaul.config.settings import ProviderSettings, Settings, secrets_in
from downhaul.config.sources import Where
from downhaul.config.urls import absolute, encoded, secrets_of
from downhaul.plugins.known import WRAPPERS


class BackendTable(BaseModel):
    """``to = "URL"``, or ``to = { url = "URL", … }``. All but ``url`` is the provider's own."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    url: str

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"url": given}
        if isinstance(given, Mapping):
            return given
        message = "must be a URL, or a table with one"
        raise ValueError(message)


def parts_of(given: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Return the URL of what names a backend, None where there is none, and the other keys."""
    table = given if isinstance(given, Mapping) else {"url": given}
    url = table.get("url")
    text = url.reveal() if isinstance(url, Secret) else url
    options = {key: value for key, value in table.items() if key != "url"}
    return (text if isinstance(text, str) else None), options


def places(wrap: Any) -> Iterator[tuple[Where, Where]]:
    """Yield where the wrappers of a stack name a backend, and where its URL is if that is a table.

    ``wrap`` is what stands in the configuration, whatever that is.
    """
    for name in wrap if isinstance(wrap, list | tuple) else ():
        wrapper = WRAPPERS.get(name) if isinstance(name, str) else None
        for key in wrapper.backends if wrapper else ():
            yield ("provider", name, key), ("provider", name, key, "url")


def passwords_in(wrap: Iterable[str], tables: Mapping[str, Any]) -> frozenset[str]:
    """Return every secret in the URLs of the backends that wrappers name."""
    found: frozenset[str] = frozenset()
    for (_, name, key), _ in places(tuple(wrap)):
        table = tables.get(name)
        url, _ = parts_of(table.get(key) if isinstance(table, Mapping) else None)
        found |= secrets_of(url) if url else frozenset()
    return found


def beside(settings: Settings, wrapper: str, key: str) -> Settings:
    """Return settings with the backend that a wrapper names in the provider's place.

    Their origins are those of its own table, so that what is said of it names the right line.
    """
    provider = settings.provider
    url, options = parts_of(provider.wrappers.get(wrapper, {}).get(key))
    directory = provider.directories.get(wrapper, provider.directory)
    table = f"provider.{wrapper}.{key}"
    inside = {
        f"provider{path.removeprefix(table)}": origin
        for path, origin in settings.origins.items()
        if path.startswith(f"{table}.")
    }
    origins = {
        path: origin
        for path, origin in settings.origins.items()
        if not path.startswith("provider.")
    }
    if table in settings.origins:
        inside["provider.url"] = settings.origins[table]
    aside = ProviderSettings(
        absolute(encoded(url or ""), directory),
        options,
        directory=directory,
        secrets=secrets_in(options),
    )
    return replace(settings, provider=aside, origins={**origins, **inside})
