"""Log how requests end under the variant that was served, count them, and judge."""

import os
import subprocess
import sys
import tempfile

from downhaul import Flags
from downhaul.analysis.evidence import Evidence
from downhaul.analysis.judge import judge
from downhaul.analysis.model import Check, Measure, Window
from downhaul.analysis.requests_source import RequestsSource

folder = tempfile.mkdtemp()
os.environ |= {"DOWNHAUL_URL": f"sqlite:///{folder}/flags.db", "DOWNHAUL_CACHE_DIR": folder}
command = [sys.executable, "-m", "downhaul", "flags", "create", "new_agent_version", "--on"]
subprocess.run(  # noqa: S603  (words of ours)
    [*command, "--percent", "25", "--actor", "ana"], check=True, stdout=subprocess.DEVNULL
)


def agent(user: int, *, new: bool) -> str:
    """Answer; the new version fails each tenth user."""
    if new and user % 10 == 0:
        raise TimeoutError
    return "an answer"


with Flags.connect() as flags:
    for user in range(2000):
        result = flags.evaluate("new_agent_version", f"user-{user}", default=False)
        try:
            with flags.observe(result, f"user-{user}"):
                agent(user, new=result.value)
        except TimeoutError:
            pass  # what a user would see is none of the log's business
print("logged:", flags.status().requests.written, "dropped:", flags.status().requests.dropped)

with Flags.connect() as flags:
    log = flags.operator("ana").control.requests
    window = Window(0, log.now() + 1_000_000)
    sample = RequestsSource(log).sample("new_agent_version", window, ())
for variant, counts in sorted(sample.arms.items()):
    print(f"{variant:>3}: {counts.requests} requests, {counts.errors} errors")

evidence = Evidence(step=0, cursor=0).add(sample)
for check in (
    Check(Measure.ERROR_RATE, limit=0.05),
    Check(Measure.ERROR_RATE, over_control=0.02),
    Check(Measure.ERROR_RATE, limit=0.05, min_sample=10_000),
):
    finding = judge(check, evidence, "on", window.until)
    print(f"{finding.verdict}: {finding.message}")
