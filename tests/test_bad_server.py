"""Whatever a server answers, or a name of a run stands for, it ends in one message."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from test_bad_input import WEIGHTS, told

from nnt.errors import DataError, TrackingError
from nnt.networks import read_weights
from nnt.tracking import MlflowTracker, StoredRun, open_run
from nnt.tracking.delivery import Delivery
from nnt.tracking.outbox import Entry, Outbox
from nnt.tracking.sender import Sender


@pytest.mark.parametrize(
    "text",
    ["a\0b#", "http://[#", "a" * 5000 + "#", "/dev/zero#", "~nobody-there#", "//#"],
    ids=lambda text: text[:20],
)
def test_a_store_before_a_run(text: str) -> None:
    with pytest.raises(TrackingError, match="is not a") as error:
        open_run(text + "0" * 32)
    told(error.value)


@pytest.mark.parametrize("text", ["runs:/" + "0" * 32 + "/", "models:/"])
def test_a_long_name_of_a_run(text: str) -> None:
    with pytest.raises(TrackingError, match="is not a run") as error:
        open_run(text + "a" * 5000)
    told(error.value)


RUN_ID = "0" * 32


class Hostile(BaseHTTPRequestHandler):
    """Answers as a tracking server; what it serves is up to the test."""

    listing: list[dict[str, Any]] = []  # noqa: RUF012
    chunks: list[bytes] = []  # noqa: RUF012
    headers_sent: dict[str, str] = {}  # noqa: RUF012
    tags: dict[str, str] = {}  # noqa: RUF012
    body: bytes | None = None
    status = 200

    def do_GET(self) -> None:
        if "/runs/get" in self.path:
            self.answer({"run": self.run()}, self.body)
        elif "artifacts?" in self.path:
            self.answer({"files": self.listing})
        elif "mlflow-artifacts/artifacts/" in self.path:
            self.send_response(200)
            for name, value in self.headers_sent.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in self.chunks:
                    self.wfile.write(chunk)
            except OSError:
                pass  # whoever had enough has hung up
        else:
            self.answer({}, None if self.status == 200 else b"no")

    do_POST = do_GET  # noqa: N815

    def run(self) -> dict[str, Any]:
        info = {
            "run_id": RUN_ID, "run_uuid": RUN_ID, "run_name": "x", "status": "RUNNING",
            "experiment_id": "0", "start_time": 1, "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/0/{RUN_ID}/artifacts", "user_id": "x",
        }  # fmt: skip
        tags = [{"key": k, "value": v} for k, v in self.tags.items()]
        return {"info": info, "data": {"tags": tags}}

    def answer(self, value: dict[str, Any], body: bytes | None = None) -> None:
        body = json.dumps(value).encode() if body is None else body
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[type[Hostile]], str]]:
    """Start a server; it gives its address."""
    with ExitStack() as servers:

        def start(handler: type[Hostile]) -> str:
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            for end in (server.server_close, thread.join, server.shutdown):
                servers.callback(end)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


@pytest.fixture
def hostile(
    workplace: Path, serve: Callable[[type[Hostile]], str]
) -> tuple[type[Hostile], StoredRun]:
    handler = type("Handler", (Hostile,), {})
    return handler, open_run(RUN_ID, serve(handler))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"1", b"<html>", b"\x80", b'{"run": 1}', b'{"run": {}}',
        b'{"run": {"info": {"run_id": "../../x"}}}', b'{"run": {"data": 1}}',
        b'{"run": {"info": {"status": "ODD", "start_time": 1e400}}}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
def test_a_run_that_is_none(
    hostile: tuple[type[Hostile], StoredRun], body: bytes
) -> None:
    handler, run = hostile
    handler.body = body
    with pytest.raises(TrackingError) as error:
        open_run(RUN_ID, run.uri).read_text("config.yaml")
    told(error.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refuses access: 401 Unauthorized; set MLFLOW_TRACKING_USERNAME and"),
        (403, "refuses access: 403 Forbidden; ask"),
        (404, "is no MLflow server: 404 Not Found; check MLFLOW_TRACKING_URI, with"),
        (413, "does not answer: 413"),
        (503, "does not answer: 503 Service Unavailable; check"),
        (599, "does not answer: 599; check"),
    ],
)
def test_a_server_that_refuses_is_named_with_what_helps(
    hostile: tuple[type[Hostile], StoredRun],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    said: str,
) -> None:
    handler, run = hostile
    handler.status = status
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as error:
        open_run(RUN_ID, run.uri)
    assert said in told(error.value)


def test_a_server_without_experiments_is_no_mlflow_server(
    hostile: tuple[type[Hostile], StoredRun],
) -> None:
    tracker = MlflowTracker(hostile[1].uri)
    with pytest.raises(TrackingError, match="as an MLflow server does"):
        tracker.start_run("x", description="", tags={})
    tracker.close()


def file(name: str, size: int = 3, *, is_dir: bool = False) -> dict[str, Any]:
    return {"path": name, "is_dir": is_dir, "file_size": size}


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ([file("config.yaml")], None),
        ([], "holds no artifact"),
        ([file("../config.yaml")], "holds no artifact"),
        ([file("/etc/passwd")], "holds no artifact"),
        ([file("..%2fconfig.yaml")], "holds no artifact"),
        ([file("config.yaml", is_dir=True)], "is a folder"),
        ([file("config.yaml", 10**30)], "larger than 67 MB"),
        ([{"path": 1}], "holds no artifact"),
        ([{"path": "config.yaml"}], "holds no artifact"),
        (["config.yaml"], "holds no artifact"),
    ],
)
def test_a_listing_of_a_server(
    hostile: tuple[type[Hostile], StoredRun],
    workplace: Path,
    listing: list[Any],
    message: str | None,
) -> None:
    handler, run = hostile
    handler.listing, handler.chunks = listing, [b"a: 1"]
    if message is None:
        assert run.read_text("config.yaml") == "a: 1"
        return
    before = sorted(workplace.parent.rglob("*"))
    with pytest.raises(TrackingError, match=message) as error:
        run.read_text("config.yaml")
    told(error.value)
    assert sorted(workplace.parent.rglob("*")) == before


def test_folders_in_folders_without_end(
    hostile: tuple[type[Hostile], StoredRun],
) -> None:
    handler, run = hostile
    handler.listing = [file("x", is_dir=True)]
    with pytest.raises(TrackingError, match="endless chain of nested folders"):
        run.artifacts("images")


@pytest.mark.parametrize(
    ("chunks", "headers", "seconds", "said"),
    [
        ([b"0" * (1 << 20)] * 64, {}, 600, "larger than 2 MB"),
        (
            [gzip.compress(b"0" * (9 << 20))],
            {"Content-Encoding": "gzip"},
            600,
            "compressed it without being asked",
        ),
        ([b"0"], {}, -1, "did not arrive within"),
    ],
    ids=["more than it said", "a bomb", "without end"],
)
def test_a_server_that_sends_without_bounds(
    hostile: tuple[type[Hostile], StoredRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunks: list[bytes],
    headers: dict[str, str],
    seconds: float,
    said: str,
) -> None:
    handler, run = hostile
    monkeypatch.setattr("nnt.tracking.artifacts.MAX_SECONDS", seconds)
    handler.listing, handler.chunks = [file("a")], chunks
    handler.headers_sent = headers
    with pytest.raises(TrackingError, match=said):
        run.download("a", tmp_path, max_bytes=2 << 20)
    assert (tmp_path / "a").stat().st_size <= 2 << 20


def test_a_pickle_is_not_opened(hostile: tuple[type[Hostile], StoredRun]) -> None:
    handler, run = hostile
    handler.listing, handler.chunks = [file("weights.json")], [WEIGHTS["a pickle"]]
    with pytest.raises(DataError, match="expected JSON"):
        read_weights(run.read_text("weights.json").encode())


class Narrow(Hostile):
    """A proxy that lets only small calls pass, before a store of metrics."""

    refusal = b""
    received: list[dict[str, Any]] = []  # noqa: RUF012

    def do_PUT(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.status = 413 if size > 2000 else 200
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.status = 413 if len(body) > 2000 else 200
        if self.status == 200:
            self.received += json.loads(body).get("metrics", [])
        self.answer({}, self.refusal if self.status == 413 else None)


@pytest.mark.parametrize(
    "refusal", [b"", b"<h1>413</h1>", b'{"message": "Payload Too Large"}']
)
def test_a_proxy_that_refuses_large_calls_gets_small_ones(
    serve: Callable[[type[Hostile]], str], tmp_path: Path, refusal: bytes
) -> None:
    received: list[dict[str, Any]] = []
    handler = type("Handler", (Narrow,), {"refusal": refusal, "received": received})
    sender = Sender(MlflowClient(serve(handler)), tmp_path)
    points: list[dict[str, Any]] = [
        {"step": step, "time_ms": 7, "metrics": {"val/loss": 1 / step, "lr": 0.5}}
        for step in range(1, 301)
    ]
    sender.send([Entry(RUN_ID, "metrics", point) for point in points])
    found = [(m["step"], m["key"], m["value"]) for m in received]
    assert found == [
        (p["step"], name, value) for p in points for name, value in p["metrics"].items()
    ]
    with pytest.raises(TrackingError, match="too large"):
        sender.send([Entry(RUN_ID, "params", {"values": {"a": "x" * 3000}})])


def test_a_file_that_no_proxy_lets_pass_is_named_and_holds_up_no_other(
    serve: Callable[[type[Hostile]], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("nnt"), "propagate", True)
    uri, outbox = serve(type("Handler", (Narrow,), {})), Outbox()
    for name, size in (("large.csv", 30_000), ("small.csv", 30)):
        (tmp_path / name).write_bytes(b"0" * size)
        outbox.add(RUN_ID, "file", path=name, folder="")
    delivery = Delivery(outbox, Sender(MlflowClient(uri), tmp_path), uri)
    assert delivery.deliver_waiting()
    assert (delivery.n_delivered, delivery.n_refused) == (1, 1)
    assert outbox.waiting() == []
    assert f"{tmp_path / 'large.csv'} has 0.03 MB, more than the server" in caplog.text
