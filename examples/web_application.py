"""A web application: one client for the process, one context for the request."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from downhaul import Context, Flag, Flags

flags = Flags.in_memory([Flag.boolean("new_checkout", percent=50)], context={"region": "eu"})


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request with what its user gets."""
    context = Context(environ.get("HTTP_X_USER"), {"agent": environ.get("HTTP_USER_AGENT", "")})
    mine = flags.with_context(context)
    page = "one page" if mine.is_enabled("new_checkout") else "three pages"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"checkout in {page}".encode()]


def get(user: str) -> str:
    """Ask the application as a server would."""
    environ: dict[str, Any] = {"HTTP_X_USER": user}
    setup_testing_defaults(environ)
    return b"".join(application(environ, lambda *_: None)).decode()


for user in ("anna", "ben", "anna", "ben"):
    print(user, "gets", get(user))
flags.operator("sam").kill("new_checkout", reason="prices are wrong")
print("anna", "gets", get("anna"))
