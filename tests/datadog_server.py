"""A server that speaks the part of Datadog's API that metrics are asked by, as it is documented.

It sums points of ``interval`` seconds by tag, and refuses what Datadog would not take. It is ours,
and no Datadog: what Datadog itself does beyond its documents can't be seen here.
"""

import re
from collections import defaultdict

from answering import Answering, Asked, Reply

KEY, APP = "api-key-1234567890", "app-key-0987654321"
_QUERY = re.compile(
    r"(?P<space>sum|count|count\(v: v>(?P<above>[\d.e+-]+)\)):(?P<metric>[\w.]+)"
    r"\{(?P<scope>[^}]*)\} by \{(?P<by>\w+)\}(?P<count>\.as_count\(\))?"
    r"\.rollup\(sum, (?P<interval>\d+)\)"
)
_MOST_POINTS = 1500


class DatadogServer(Answering):
    """Metrics by name: ``counts`` and ``distributions`` hold (seconds, tags, value)."""

    def __init__(self) -> None:
        self.counts: dict[str, list[tuple[float, dict[str, str], float]]] = defaultdict(list)
        self.distributions: dict[str, list[tuple[float, dict[str, str], float]]] = defaultdict(list)
        self.gauges: set[str] = set()
        self.may_look_up = True
        super().__init__(self._reply)

    def _reply(self, asked: Asked) -> Reply:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        if (headers.get("dd-api-key"), headers.get("dd-application-key")) != (KEY, APP):
            return Reply({"errors": ["Forbidden"]}, 403)
        if asked.method == "GET" and asked.path.startswith("/api/v1/metrics/"):
            return self._metadata(asked.path.rpartition("/")[2])
        if (asked.method, asked.path) == ("POST", "/api/v2/query/timeseries"):
            return self._timeseries(asked.json["data"])
        return Reply({"errors": ["Not found"]}, 404)

    def _metadata(self, name: str) -> Reply:
        if not self.may_look_up:
            return Reply({"errors": ["Forbidden"]}, 403)
        for kind, names in (
            ("count", self.counts),
            ("distribution", self.distributions),
            ("gauge", self.gauges),
        ):
            if name in names:
                return Reply({"type": kind})
        return Reply({"errors": ["Metric not found"]}, 404)

    def _timeseries(self, data: dict) -> Reply:
        assert data["type"] == "timeseries_request"
        given = data["attributes"]
        by_name = {one["name"]: one for one in given["queries"]}
        assert all(one["data_source"] == "metrics" for one in by_name.values())
        found: list[tuple[int, str, dict[int, float]]] = []
        for index, formula in enumerate(given["formulas"]):
            query = _QUERY.fullmatch(by_name[formula["formula"]]["query"])
            if query is None:
                return Reply({"errors": ["Error parsing query"]}, 400)
            interval = int(query["interval"]) * 1000
            if (given["to"] - given["from"]) / interval > _MOST_POINTS:
                interval *= 6
            for group, points in self._points(query, given, interval).items():
                found.append((index, f"{query['by']}:{group}", points))
        times = sorted({time for _, _, points in found for time in points})
        return Reply(
            {
                "data": {
                    "type": "timeseries_response",
                    "attributes": {
                        "times": times,
                        "series": [
                            {"group_tags": [tag], "query_index": index, "unit": None}
                            for index, tag, _ in found
                        ],
                        "values": [[points.get(at) for at in times] for _, _, points in found],
                    },
                }
            }
        )

    def _points(self, query: re.Match, given: dict, interval: int) -> dict[str, dict[int, float]]:
        kept = self.distributions if query["metric"] in self.distributions else self.counts
        found: dict[str, dict[int, float]] = {}
        for at, tags, value in kept[query["metric"]]:
            begins = int(at * 1000) // interval * interval
            inside = given["from"] <= begins < given["to"]
            if not inside or not _holds(query["scope"], tags):
                continue
            many = value
            if query["above"] is not None:
                many = float(value > float(query["above"]))
            elif query["space"] == "count":
                many = 1.0
            if kept is self.counts and query["count"] is None:
                many /= interval / 1000  # as a rate, which is what a count is shown as without it
            points = found.setdefault(tags.get(query["by"], "N/A"), {})
            points[begins] = points.get(begins, 0.0) + many
        return found


def _holds(scope: str, tags: dict[str, str]) -> bool:
    return scope == "*" or all(_one(part.strip(), tags) for part in scope.split(" AND "))


def _one(part: str, tags: dict[str, str]) -> bool:
    if part.startswith("NOT "):
        return not _one(part.removeprefix("NOT "), tags)
    several = re.fullmatch(r"([\w./-]+) IN \(([^)]*)\)", part)
    if several is not None:
        return tags.get(several[1]) in several[2].split(", ")
    tag, _, value = part.partition(":")
    return tags.get(tag) == value
