"""The process that workers are forked from, and the worker: what runs on the other side.

A fork server has one thread and runs nothing but imports, so that a fork of it is whole. Run as
`python -P -c "from rnnexport.isolation.fork_server import main; main(FD)"`, or forked from a process that has loaded no
runtime yet.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.artifact.atomic_write import held_folder
from rnnexport.core.errors import ForeignCode, RaisedError, RnnExportError, reason
from rnnexport.isolation.limits import end_with
from rnnexport.isolation.wire import ClosedError, receive, send
from rnnexport.targets.base import Runner
from rnnexport.targets.registry import target

_NO_LIMIT = 1 << 62
_REQUEST = 1 << 16


def main(descriptor: int) -> None:
    """Serve requests that come in on a socket until its other end is closed.

    `{"imports": [...]}` imports modules, `{"fork": true}` comes with a socket and forks a worker that serves it, which
    answers with its process id; `{"wait": id}` answers how that one ended.
    """
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ExitStack() as resources:
        with suppress(OSError):  # a host without a place for temporary files
            place = resources.enter_context(held_folder(Path(tempfile.gettempdir()), "workers"))
            _put_temporary_files(place)
        _serve_requests(control)
    os._exit(0)


def _serve_requests(control: socket.socket) -> None:
    """See `main`. What a worker leaves in its temporary folder, which is named after it, goes with it."""
    while True:
        data, passed, _, _ = socket.recv_fds(control, _REQUEST, 1)
        if not data:
            return
        request = json.loads(data)
        answer: dict[str, int] = {}
        if "imports" in request:
            _import(request["imports"])
        elif "wait" in request:
            with suppress(ChildProcessError):
                _, answer["status"] = os.waitpid(request["wait"], 0)
            shutil.rmtree(_folder_of(request["wait"]), ignore_errors=True)
        else:
            server = os.getpid()
            answer["id"] = os.fork()
            if not answer["id"]:
                end_with(server)
                control.close()
                _serve(socket.socket(fileno=passed[0]))
            os.close(passed[0])
        control.sendall(json.dumps(answer).encode())


def _folder_of(worker: int) -> Path:
    return Path(tempfile.gettempdir(), f"rnnexport_worker_{worker}")


def _put_temporary_files(folder: Path) -> None:
    """Let libraries, those in C++ too, put their temporary files there: workers are killed, and remove none."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        with suppress(Exception):  # a worker that needs it tells what is wrong
            import_module(name)


def _serve(channel: socket.socket) -> None:
    """Be a worker, and end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = _folder_of(os.getpid())
    with suppress(OSError):
        folder.mkdir(mode=0o700)
        _put_temporary_files(folder)
    with suppress(ClosedError, OSError):
        _Worker(channel).serve()
    os._exit(0)


class _Worker:
    """One artifact on one provider, at the other end of a socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._runner: Runner | None = None
        self._entries: dict[str, Runner] = {}
        self._resources = ExitStack()

    def serve(self) -> None:
        """Answer requests. Whatever one raises is the answer to it. Raises ClosedError when nobody asks any longer."""
        while True:
            request, arrays = receive(self._channel, _NO_LIMIT)
            found: dict[str, np.ndarray] = {}
            try:
                with ForeignCode(_raised):
                    told, found = getattr(self, f"_{request.pop('do')}")(arrays, **request)
            except RnnExportError as error:
                told = {"error": type(error).__name__, "told": [error.found, error.expected, error.todo]}
            except (RaisedError, MemoryError) as error:
                told = {"raised": reason(error)}
            send(self._channel, told, found)

    def _open(self, arrays: Any, name: str, path: str, provider: str, tf32: bool, folder: str) -> Any:
        os.chdir(folder)  # the fork server may have been started in another
        opened = target(name).runner(Path(path), provider, tf32=tf32)
        self._runner = self._resources.enter_context(opened)
        return {
            **_boundary(self._runner),
            "ordered": self._runner.ordered,
            "settings": dict(self._runner.settings),
            "entries": list(self._runner.entries),
        }, {}

    def _at(self, arrays: Any, entry: str) -> Any:
        assert self._runner is not None, "opened first"
        self._entries[entry] = self._runner.at(entry)
        return _boundary(self._entries[entry]), {}

    def _run(self, feed: dict[str, np.ndarray], entry: str) -> Any:
        runner = self._entries[entry] if entry else self._runner
        assert runner is not None, "opened first"
        return {}, runner.run(feed)

    def _placement(self, arrays: Any) -> Any:
        assert self._runner is not None, "opened first"
        placement = self._runner.placement()
        return {"nodes": None if placement is None else placement.to_json()["nodes"]}, {}

    def _values(self, feed: dict[str, np.ndarray], name: str, path: str, provider: str, tf32: bool, folder: str) -> Any:
        os.chdir(folder)
        inner = target(name).inner_values(Path(path), feed, provider, tf32=tf32)
        places = {value.name: value.recurrence for value in inner.values}
        return {"places": places, "left_out": list(inner.left_out)}, {one.name: one.array for one in inner.values}


def _raised(error: BaseException) -> RaisedError:
    return RaisedError(reason(error))


def _boundary(runner: Runner) -> dict[str, Any]:
    sides = {"inputs": runner.inputs, "outputs": runner.outputs}
    return {side: [[one.name, one.dtype, list(one.shape)] for one in tensors] for side, tensors in sides.items()}
