"""The process of a local worker; a pipe to the sweep is all that it knows of it."""

from __future__ import annotations

import json
import queue
import threading
from multiprocessing.connection import Connection
from typing import Any

from nnt.sweep.worker import Data, run_trial


def serve(pipe: Connection) -> None:
    """Train what comes, one after the other, until the other end is closed."""
    tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
    answers: queue.Queue[str] = queue.Queue()
    stop = threading.Event()

    def listen() -> None:
        try:
            while True:
                message = json.loads(pipe.recv_bytes())
                if "task" in message:
                    tasks.put(message["task"])
                elif "answer" in message:
                    answers.put(message["answer"])
                else:
                    stop.set()
                    answers.put("")
        except (EOFError, OSError):
            # The sweep has gone: end in order, so that it can be resumed.
            stop.set()
            answers.put("")
            tasks.put(None)

    def send(message: dict[str, Any]) -> None:
        try:
            pipe.send_bytes(json.dumps(message).encode())
        except OSError:
            stop.set()

    threading.Thread(target=listen, name="listener", daemon=True).start()
    data = Data()
    while (task := tasks.get()) is not None:
        while not answers.empty():
            answers.get()
        run_trial(task, send, answers.get, stop, data)
