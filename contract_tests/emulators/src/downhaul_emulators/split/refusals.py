"""What the admin API says no to, in the shape in which it says so."""

from __future__ import annotations

import itertools
from typing import Any, Final

from downhaul_emulators.serving import Response

_transactions: Final = itertools.count(1)


class Refusal(Exception):
    """The request is answered with a status and a message, and changes nothing.

    Some refusals come without a word: an empty ``message`` sends no body.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def answer(self) -> Response:
        """Return the answer that a client sees."""
        if not self.message:
            return Response(self.status)
        body: dict[str, Any] = {
            "code": self.status,
            "message": self.message,
            "details": "",
            "transactionId": f"emulated{next(_transactions):06d}",
        }
        return Response(self.status, body)


def bad(message: str) -> Refusal:
    """Return a refusal of what was sent (400)."""
    return Refusal(400, message)


def missing(what: str) -> Refusal:
    """Return a refusal for something that is not there (404)."""
    return Refusal(404, f"{what} does not exist")
