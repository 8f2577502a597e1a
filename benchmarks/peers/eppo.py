"""Eppo's SDK for servers, which decides in Rust; fed from a server on loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import case
import eppo_client
from contestant import Measure, Prepared
from eppo_client.assignment_logger import AssignmentLogger

_SHARDS = 10_000


def prepare() -> Prepared:
    """Serve the flags once; it asks again after a day."""
    body = json.dumps(_document()).encode()
    server = HTTPServer(("127.0.0.1", 0), _handler(body))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = eppo_client.init(
        eppo_client.ClientConfig(
            api_key="benchmark",
            base_url=f"http://127.0.0.1:{server.server_port}",
            assignment_logger=AssignmentLogger(),
            poll_interval_seconds=86_400,
        )
    )
    client.wait_for_initialization()
    server.shutdown()
    users, flag, nothing = case.USERS, case.FLAG, {}

    def run() -> None:
        for user in users:
            client.get_boolean_assignment(flag, user, nothing, False)

    return Prepared(
        {"case": Measure(run, len(users))},
        lambda: [client.get_boolean_assignment(flag, user, nothing, False) for user in users],
        "eppo-server-sdk",
    )


def _handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
            """Keep quiet."""

    return Handler


def _document() -> dict[str, object]:
    return {
        "createdAt": "2026-01-01T00:00:00.000Z",
        "format": "SERVER",
        "environment": {"name": "benchmark"},
        "flags": {plain.key: _flag(plain) for plain in case.flags()},
    }


def _flag(plain: case.Plain) -> dict[str, object]:
    of_targets = {"attribute": "id", "operator": "ONE_OF", "value": list(plain.targets)}
    shard = {
        "salt": plain.key,
        "ranges": [{"start": 0, "end": plain.percent * _SHARDS // 100}],
    }
    return {
        "key": plain.key,
        "enabled": plain.on,
        "variationType": "BOOLEAN",
        "totalShards": _SHARDS,
        "variations": {
            "on": {"key": "on", "value": True},
            "off": {"key": "off", "value": False},
        },
        "allocations": [
            {
                "key": "targets",
                "rules": [{"conditions": [of_targets]}],
                "splits": [{"variationKey": "on", "shards": []}],
                "doLog": False,
            },
            {
                "key": "rollout",
                "rules": [],
                "splits": [
                    {"variationKey": "on", "shards": [shard]},
                    {"variationKey": "off", "shards": []},
                ],
                "doLog": False,
            },
        ],
    }
