"""What a configuration says of Unleash, as a connection and the admin side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from downhaul.config import RolloutMode, Secret
from downhaul.errors import ConfigError, Unreachable
from downhaul_unleash.session import Connection

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul_unleash.admin import Admin

_API: Final = "/api"
_HOW: Final = "write unleash+https://HOST/api, or unleash+file:///PATH for a payload from a file"
_DEFAULT: Final = "default"


def connection_of(settings: Settings) -> Connection:
    """Return where the server is and how it is asked. Raises ConfigError."""
    options = settings.provider.options
    transport = settings.provider.scheme.partition("+")[2]
    origin = settings.origins.get("provider.url")
    if transport not in ("http", "https", "file"):
        message = f'"{settings.provider.safe_url}" does not say how Unleash is reached'
        raise ConfigError(message, hint=_HOW, origin=origin)
    token = options.get("token")
    common: dict[str, Any] = {
        name: options[name]
        for name in ("app_name", "refresh", "request_timeout", "metrics", "deadline")
        if name in options
    }
    if transport == "file":
        path = Path(unquote(urlsplit(settings.provider.url).path))
        environment = options.get("environment") or settings.environment
        payload = _payload(path, origin)
        return Connection(str(path), None, environment=environment, bootstrap=payload, **common)
    if token is None:
        message = "Unleash tells its flags to nobody without a token"
        hint = 'set `token = { env = "UNLEASH_TOKEN" }` in [provider]: a backend token'
        raise ConfigError(message, hint=hint, origin=origin)
    return Connection(
        api_url(settings.provider.url, settings.provider.safe_url, origin),
        token,
        environment=_environment(settings, token),
        **common,
    )


def admin_of(settings: Settings, connection: Connection) -> Admin | None:
    """Return the admin side, or None where no admin token is given."""
    from downhaul_unleash.admin import Admin  # noqa: PLC0415  (an application evaluates without it)
    from downhaul_unleash.api import Api  # noqa: PLC0415  (as above)

    options = settings.provider.options
    token = options.get("admin_token")
    if token is None or connection.bootstrap is not None:
        return None
    deadline = options.get("deadline") or 10.0
    api = Api(connection.url, token, deadline=deadline, redact=settings.redact)
    portable = frozenset(
        key for key, one in settings.flags.items() if one.rollout is RolloutMode.PORTABLE
    )
    project = options.get("project") or _DEFAULT
    return Admin(api, project, connection.environment, portable=portable, declared=settings.flags)


def api_url(url: str, shown: str, origin: str | None = None) -> str:
    """Return the URL that the SDK wants, which ends in ``/api``, from one with or without it.

    Raises ConfigError for a URL with a user, a query or a fragment in it.
    """
    parts = urlsplit(url.partition("+")[2])
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigError(f'"{shown}" is no address of an API', hint=_HOW, origin=origin)
    path = parts.path.rstrip("/")
    for tail in ("/client/features", "/client", "/admin", "/frontend"):
        if path.endswith(_API + tail):
            path = path.removesuffix(tail)
    if not path.endswith(_API):
        path += _API
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _environment(settings: Settings, token: Secret) -> str:
    """Return the environment of Unleash: its token's, because that is the one that is evaluated."""
    wanted: str | None = settings.provider.options.get("environment")
    _project, colon, rest = token.reveal().partition(":")
    named = rest.partition(".")[0] if colon else ""
    if wanted and named not in ("", "*", wanted):
        message = f'the token is for the environment "{named}", and "{wanted}" is asked for'
        hint = "give the token of that environment, or leave `environment` out"
        origin = settings.origins.get("provider.environment")
        raise ConfigError(message, hint=hint, origin=origin)
    return wanted or (named if named not in ("", "*") else settings.environment)


def _payload(path: Path, origin: str | None) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the payload {path} cannot be read: {error}"
        raise Unreachable(
            message,
            hint="name a file with what a server answers at /api/client/features",
            origin=origin,
            provider="unleash",
        ) from error
