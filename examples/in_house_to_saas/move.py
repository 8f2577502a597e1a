"""Move a table of flags to Unleash through every stage, under traffic, and back."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from psycopg import sql

HERE = Path(__file__).resolve().parent
CONFIG = """
environment = "production"

[provider]                                  # what the application is told
url = "table+{database}"
table = "{schema}.feature_flags"
enabled_means = "everyone"                  # as the team's code reads the column
bucketing = "crc32"                         # its own hash, of flag and user
poll = 0.5
wrap = ["staged"]
[provider.staged]
sample = 0.05
[provider.staged.to]
url = "unleash+{unleash}"
token = {{ env = "UNLEASH_TOKEN" }}
refresh = 0.5

[control]                                   # kills, and how far each flag has come
url = "{database}"

[backends.db]
url = "table+{database}"
table = "{schema}.feature_flags"
enabled_means = "everyone"
bucketing = "crc32"
[backends.saas]
url = "unleash+{unleash}"
token = {{ env = "UNLEASH_TOKEN" }}
admin_token = {{ env = "UNLEASH_ADMIN_TOKEN" }}
"""


TABLE = """
CREATE TABLE {table} (
    name VARCHAR(255) PRIMARY KEY,
    enabled BOOLEAN DEFAULT FALSE,
    rollout_percentage INT DEFAULT 0,
    whitelist JSONB DEFAULT '[]'
)
"""


def make_table(database: str, schema: str, count: int) -> list[str]:
    """Make the team's table, with as many flags; return their names."""
    names = [f"moving-{number}" for number in range(count)]
    # One in twenty is on for all; the others are somewhere in their rollout.
    rows = [
        (name, number % 20 == 0, number % 101, json.dumps([f"user-{number % 200}"]))
        for number, name in enumerate(names)
    ]
    table = sql.Identifier(schema, "feature_flags")
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        cursor.execute(sql.SQL(TABLE).format(table=table))
        cursor.executemany(sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s)").format(table), rows)
    return names


class Application:
    """The application in a process of its own, and what it has seen so far."""

    def __init__(self, folder: Path, keys: list[str]) -> None:
        command = [sys.executable, str(HERE / "app.py"), *keys]
        self._process = subprocess.Popen(  # noqa: S603  (words of ours)
            command, cwd=folder, stdout=subprocess.PIPE, text=True
        )
        self.asked, self.changed = 0, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            self.asked += said["asked"]
            self.changed += said["changed"]

    def under_traffic(self, seconds: float) -> tuple[int, list]:
        """Let it serve for some seconds; return how many answers it had, and those that changed."""
        while not self.asked and self._process.poll() is None:
            time.sleep(0.1)  # it is starting
        before = self.asked, len(self.changed)
        time.sleep(seconds)
        if self._process.poll() is not None:
            raise SystemExit("the application ended by itself")
        return self.asked - before[0], self.changed[before[1] :]

    def stop(self) -> None:
        """End it, and read its last words."""
        self._process.terminate()
        self._process.wait(30)
        self._reader.join(5)


def downhaul(folder: Path, *words: str) -> None:
    """Run a command as the team would, and show it."""
    print("$ downhaul", *words, flush=True)
    environ = {**os.environ, "DOWNHAUL_ACTOR": os.environ.get("DOWNHAUL_ACTOR", "ana")}
    command = [sys.executable, "-m", "downhaul", *words]
    with (folder / "commands.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(  # noqa: S603  (words of ours)
            command,
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.stderr:
        print("  " + "\n  ".join(done.stderr.strip().splitlines()[-3:]), flush=True)
    if done.returncode:
        raise SystemExit(f"it ended with {done.returncode}")


def main() -> None:
    """Move all flags there and back, and tell what the application saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flags", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of traffic at each stage")
    parser.add_argument("--schema", default="shop")
    parser.add_argument("--folder", type=Path, default=Path("moving"))
    given = parser.parse_args()
    database, folder = os.environ["DATABASE_URL"], given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    keys = make_table(database, given.schema, given.flags)
    places = {"database": database, "unleash": os.environ["UNLEASH_URL"], "schema": given.schema}
    (folder / "downhaul.toml").write_text(CONFIG.format(**places))
    downhaul(folder, "db", "upgrade")

    application = Application(folder, keys)
    seen: list[tuple[str, int, list]] = []

    def watch(stage: str) -> None:
        asked, changed = application.under_traffic(given.seconds)
        seen.append((stage, asked, changed))
        print(f"  {stage}: {asked} answers, {len(changed)} changed {changed[:3] or ''}", flush=True)

    try:
        watch("before")
        downhaul(folder, "migrate", "inventory", "--from", "db", "--code", str(HERE))
        sides = ("--from", "db", "--to", "saas")
        downhaul(folder, "migrate", "plan", *sides, "--only", "moving-*", "-o", "plan.json")
        downhaul(folder, "migrate", "apply", "plan.json")
        watch("off")
        downhaul(folder, "migrate", "verify", *sides, "-o", "verify.json")
        for words in ((), (), ("--percent", "10"), ("--percent", "50"), (), (), ()):
            downhaul(folder, "migrate", "cutover", "--all", *words)
            watch("on")
        downhaul(folder, "migrate", "status")
        for _ in range(5):
            downhaul(folder, "migrate", "back", "--all")
            watch("back")
        downhaul(folder, "migrate", "revert", "plan.json")
    finally:
        application.stop()
    asked = sum(one for _, one, _ in seen)
    print(f"{asked} answers in {len(seen)} stages, {len(application.changed)} changed")
    if application.changed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
