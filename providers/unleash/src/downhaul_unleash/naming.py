"""Variants under the names, and of the kinds, that Unleash has for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from downhaul.flag import Flag, FlagKind, Prerequisite, Serve, Split, Weight
from downhaul_unleash.whole import VARIANT_NAME

_OTHER: Final = re.compile(r"[^A-Za-z0-9_.~-]+")
_LONGEST: Final = 90
_BOOLEAN: Final = {"on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Names:
    """What the variants of a flag are called in Unleash, by what they are called here."""

    by_ours: Mapping[str, str]
    reasons: tuple[str, ...] = ()
    refusal: str = ""
    off: str | None = None
    boolean: bool = False

    def renamed(self, flag: Flag) -> Flag:
        """Return a flag with these names; where it is refused, as it is."""
        if self.refusal:
            return flag
        variants = {self.by_ours[name]: value for name, value in flag.variants.items()}
        return replace(
            flag,
            variants=_BOOLEAN if self.boolean else variants,
            off_variant=self.off,
            default=self._serve(flag.default),
            targets=tuple(replace(one, variant=self.by_ours[one.variant]) for one in flag.targets),
            rules=tuple(
                replace(
                    one,
                    serve=self._serve(one.serve),
                    gate=None
                    if one.gate is None
                    else replace(one.gate, outside=self._one(one.gate.outside)),
                )
                for one in flag.rules
            ),
        )

    def prerequisite(self, one: Prerequisite) -> Prerequisite:
        """Return a prerequisite on the flag with these names."""
        wanted = dict.fromkeys(self.by_ours.get(name, name) for name in one.variants)
        return replace(one, variants=tuple(wanted))

    def _one(self, name: str | None) -> str | None:
        return None if name is None else self.by_ours[name]

    def _serve(self, serve: Serve) -> Serve:
        if isinstance(serve, str):
            return self.by_ours[serve]
        weights = tuple(Weight(self._one(one.variant), one.weight) for one in serve.weights)
        return Split(weights, serve.bucketing)


def names_of(flag: Flag) -> Names:
    """Return the names of a flag's variants in Unleash, and what is not the same by them."""
    return _boolean(flag) if flag.kind is FlagKind.BOOLEAN else _valued(flag)


def _boolean(flag: Flag) -> Names:
    by_ours = {name: "on" if value else "off" for name, value in flag.variants.items()}
    reasons: tuple[str, ...] = ()
    renamed = {name: new for name, new in by_ours.items() if name != new}
    if renamed or set(by_ours) != set(_BOOLEAN):
        reasons += (_said(renamed) or "Unleash's booleans have both, on and off",)
    if flag.off_variant is None:
        reasons += ("off is False in Unleash, and not the caller's default",)
    elif flag.variants[flag.off_variant]:
        refusal = "a boolean that is off is False in Unleash, and this one would be True"
        return Names(by_ours, (), refusal, boolean=True)
    return Names(by_ours, reasons, off="off", boolean=True)


def _valued(flag: Flag) -> Names:
    by_ours: dict[str, str] = {}
    taken = {name for name in flag.variants if VARIANT_NAME.fullmatch(name)}
    for name in flag.variants:
        by_ours[name] = name if name in taken else _free(name, (*taken, *by_ours.values()))
    off = None if flag.off_variant is None else by_ours[flag.off_variant]
    said = _said({name: new for name, new in by_ours.items() if name != new})
    return Names(by_ours, (said,) if said else (), off=off)


def _free(name: str, taken: Iterable[str]) -> str:
    stem = _OTHER.sub("-", name)[:_LONGEST].strip("-") or "variant"
    made, number = stem, 2
    while made in taken:
        made, number = f"{stem}-{number}", number + 1
    return made


def _said(renamed: Mapping[str, str]) -> str:
    if not renamed:
        return ""
    said = ", ".join(f'"{old}" is "{new}"' for old, new in renamed.items())
    return f"{said} there: the values are the same"
