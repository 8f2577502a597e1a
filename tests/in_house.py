"""What a flag set decides, without a client around it."""

from downhaul.evaluator.compile import World
from downhaul.evaluator.outcome import CallersDefault
from downhaul.evaluator.view import View


def decisions(translation, contexts, *, default=False):
    """Return what each flag answers to each context, as nested lists in the order of the flags."""
    flag_set = translation.flag_set()
    view = View(World(flags=flag_set.flags, segments=flag_set.segments))
    return {
        key: [_enabled(view, key, context, default) for context in contexts]
        for key in flag_set.flags
    }


def _enabled(view, key, context, default):
    try:
        return view.enabled[key](context)
    except CallersDefault:
        return default
