"""An open model's host for tests: a true HTTP server that answers chat completions from a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["OpenHost", "Said", "hosting"]

Said = Callable[[dict[str, Any]], tuple[str | dict[str, Any], list[float] | None]]
"""From a request's body to the answer (a text, or a whole message) and its tokens' log-probabilities."""


class OpenHost:
    """`fails` are statuses given before the next answers; `seen` the bodies and `keys` the Authorization headers."""

    def __init__(self, said: Said) -> None:
        self.said = said
        self.fails: list[int] = []
        self.finish = "stop"
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.connections = 0
        self.url = ""

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        self.seen.append(body)
        if self.fails:
            status = self.fails.pop(0)
            return status, json.dumps({"error": {"message": f"sk-secret {status}"}}).encode()
        said, logs = self.said(body)
        message = said if isinstance(said, dict) else {"role": "assistant", "content": said}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self.finish}
        if body.get("logprobs") and logs is not None:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": one} for one in logs]}
        usage = {"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104}
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, json.dumps(whole | {"choices": [choice], "usage": usage}).encode()


@contextmanager
def hosting(said: Said) -> Iterator[OpenHost]:
    host = OpenHost(said)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            host.connections += 1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            host.keys.append(self.headers["Authorization"])
            status, data = host.answer(body) if self.path == "/v1/chat/completions" else (404, b"{}")
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{host.url}/chat/completions")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        host.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield host
        server.shutdown()
