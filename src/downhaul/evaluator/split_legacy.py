"""Split's legacy hash of many texts at once: 31 * hash + letter, in 32 bits, as Java hashes a text.

One whole number holds a lane of 64 bits for each text, so that a letter of all of them is one
multiplication and one addition. Python multiplies long numbers in C. Texts are of one length
after zeros before them, which change no hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LONGEST: Final = 128  # letters: one long text makes all of them long
_LANE: Final = 8  # bytes
_BITS: Final = (0xFFFFFFFF).to_bytes(_LANE, "little")
_APART: Final = 6  # letters until a lane has to be cut to 32 bits: 2**32 * 31**6 is below 2**62


def hashes(texts: Sequence[str]) -> Sequence[int] | None:
    """Return the hash of each text; None where one is no ASCII, or long: each is as fast then."""
    length, count = max(map(len, texts), default=0), len(texts)
    if length > _LONGEST or not all(map(str.isascii, texts)):
        return None
    letters = "".join([text.rjust(length, "\0") for text in texts]).encode("ascii")
    cut = int.from_bytes(_BITS * count, "little")
    wide = bytearray(_LANE * count)
    lanes = 0
    for at in range(length):
        wide[::_LANE] = letters[at::length]
        lanes = lanes * 31 + int.from_bytes(wide, "little")
        if at % _APART == _APART - 1:
            lanes &= cut
    return memoryview((lanes & cut).to_bytes(_LANE * count, "little")).cast("Q")
