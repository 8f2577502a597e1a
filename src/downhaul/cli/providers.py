"""``providers list``: which backends there are, and what is broken about the others."""

from __future__ import annotations

from typing import Any

from downhaul.cli.commands import command
from downhaul.cli.session import Session


@command("providers list", example="downhaul providers list --json", silent=True)
def list_providers(session: Session) -> None:
    """List what is installed: name, version, URL schemes, capabilities, and what is broken and why.

    No backend is contacted, and no vendor's SDK imported.
    """
    from downhaul.plugins import installed  # noqa: PLC0415  (pluggy)
    from downhaul.plugins.known import KNOWN  # noqa: PLC0415

    found = installed()
    rows = [_data(one) for one in found]
    names = {one.name for one in found}
    missing = [
        {"name": one.name, "install": one.install}
        for one in KNOWN.values()
        if one.name not in names
    ]
    if session.as_json:
        session.out.json({"providers": rows, "not_installed": missing})
        return
    session.out.table(
        ["name", "status", "version", "package", "schemes", "capabilities"],
        [
            [
                row["name"],
                row["status"],
                row["version"],
                row["package"],
                ",".join(row["schemes"]),
                ",".join(row["capabilities"]) or "translates documents only",
            ]
            if row["status"] == "ok"
            else [row["name"], row["status"], row["version"], row["package"], "", row["problem"]]
            for row in rows
        ],
    )
    for row in rows:
        if row["status"] == "ok" and row["problem"]:
            session.out.warning(f"{row['name']}: {row['problem']}")
    for one in missing:
        session.out.note(f"{one['name']} is not installed: {one['install']}")


def _data(one: Any) -> dict[str, Any]:
    spec = one.spec
    status = "disabled" if one.disabled else "ok" if spec is not None else "broken"
    return {
        "name": one.name,
        "status": status,
        "package": one.distribution,
        "version": one.version,
        "schemes": list(spec.schemes) if spec else [],
        "capabilities": sorted(cap.value for cap in spec.capabilities) if spec else [],
        "evaluates": spec is not None and spec.factory is not None,
        "translates": spec is not None and spec.translator is not None,
        "problem": one.problem,
    }
