"""Python processes that start warm: copies of one that has imported TensorFlow and the like, and run nothing of them.

Importing them takes seconds, and many tests need a process of their own: its exit code, its output, its folder.

1. `Warm` starts a server, which imports `HEAVY` and then waits. It runs no operation and starts no thread but those of
   OpenBLAS, which ends its own before a fork; it says so where that is not so, and serves nothing.
2. For each request the server forks. The copy takes the arguments, the folder, the environment and the descriptors of
   whoever asked, and becomes that process: what it prints, how it ends and what it leaves is its own.
3. Of rnnexport nothing is imported before the fork. Tests of what is imported, of how a process starts, of its
   environment or its limits have no use for a copy: they start real ones.

As a script, `warm.py SOCKET -m module ...` asks for a process and ends as it ended: a command for scripts and make.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NoReturn

# Not onnxruntime: it starts a thread when it is imported.
HEAVY = ("numpy", "onnx", "onnx.version_converter", "onnx_ir", "h5py", "tensorflow", "keras", "tf_keras")
HEAVY += ("tf2onnx.convert", "tf2onnx.tfonnx", "tf2onnx.optimizer", "onnxscript.optimizer")
HEAVY += ("click", "rich.console", "rich.table", "jinja2")
LENGTH_BYTES = 8


class Warm:
    """A server of warm processes, and what it takes to ask it."""

    def __init__(self, address: str, log: Path) -> None:
        self.address = address
        self._log = log

    @staticmethod
    @contextmanager
    def serving() -> Iterator[Warm]:
        """A server until the end of the block, or of this process."""
        with tempfile.TemporaryDirectory(prefix="warm") as folder:
            warm = Warm(f"{folder}/socket", Path(folder, "log"))
            with socket.socket(socket.AF_UNIX) as listener, warm._log.open("wb") as log:
                listener.bind(warm.address)
                listener.listen(64)
                server = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(listener.fileno())],
                    env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                    pass_fds=[listener.fileno()],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            yield warm
            assert server.stdin is not None
            server.stdin.close()
            server.wait(60)

    def run(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run` gives for a command of this Python, its output captured.

        Raises:
            TimeoutExpired: it took longer than `timeout` seconds, and was killed.
            RuntimeError: the server ended, or never started.
        """
        assert command[0] == sys.executable
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            descriptors = (0, out.fileno(), err.fileno())
            try:
                code = self._ended(command, cwd, env, descriptors, timeout)
            except (EOFError, ConnectionError):
                raise RuntimeError(f"the server of warm processes ended: {self._log.read_text()}") from None
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def _ended(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], descriptors: Sequence[int], timeout: float
    ) -> int:
        """How it ended."""
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(timeout)
            server.connect(self.address)
            pid = ask(server, command[1:], str(cwd), env, descriptors)
            try:
                return told(server)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                told(server)
                raise subprocess.TimeoutExpired(command, timeout) from None

    def script(self, path: Path, module: str) -> Path:
        """Write a command that runs `module` with its arguments in a warm process."""
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{self.address}" -m {module} "$@"\n')
        path.chmod(0o755)
        return path


def ask(
    server: socket.socket, arguments: Sequence[str], cwd: str, env: Mapping[str, str], descriptors: Sequence[int]
) -> int:
    """Ask for a process with these standard descriptors; its id."""
    request = json.dumps([list(arguments), cwd, dict(env)]).encode()
    socket.send_fds(server, [len(request).to_bytes(LENGTH_BYTES, "big")], descriptors)
    server.sendall(request)
    return told(server)


def told(connection: socket.socket) -> int:
    """The next number of the other side."""
    return int.from_bytes(received(connection, LENGTH_BYTES), "big", signed=True)


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Request:
    """A process that was asked for: what it runs, where, and the descriptors that it gets as 0, 1 and 2."""

    def __init__(self, connection: socket.socket) -> None:
        length, self.descriptors, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 3)
        self.arguments, self.cwd, self.environment = json.loads(received(connection, int.from_bytes(length, "big")))

    def become(self) -> None:
        """Turn this process into the one that was asked for."""
        for wanted, given in enumerate(self.descriptors):
            os.dup2(given, wanted)
            os.close(given)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in what it runs behind `&`
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)

    def run(self) -> None:
        """Run the arguments as Python does: `-c code`, `-m module` or a file, and what follows."""
        kind, *rest = self.arguments
        given = self.environment.get("PYTHONPATH", "").split(os.pathsep)
        path = [str(Path(self.cwd, entry)) for entry in given if entry]
        if kind == "-c":
            code, sys.argv[:] = rest[0], ["-c", *rest[1:]]
            sys.path[:0] = ["", *path]
            sys.modules["__main__"] = main = ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), vars(main))
        elif kind == "-m":
            sys.argv[:] = rest
            sys.path[:0] = [self.cwd, *path]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = self.arguments
            sys.path[:0] = [str(Path(kind).resolve().parent), *path]
            runpy.run_path(kind, run_name="__main__")


class Ending:
    """Ends the process behind the block as Python does, but leaves its memory to the system: freeing takes seconds."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> NoReturn:
        code = error.code if isinstance(error, SystemExit) else int(error is not None)
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif not isinstance(code, int | None):
            print(code, file=sys.stderr)
            code = 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit((code or 0) & 0xFF)


def warmed() -> None:
    """Import what is heavy, and see that it can be forked."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in HEAVY:
        importlib.import_module(name)
    context = importlib.import_module("tensorflow.python.eager.context")
    assert context._context is None, "TensorFlow has run something: a copy of this process could hang"
    assert "onnxruntime" not in sys.modules, "ONNX Runtime was imported, and its thread would not be in a copy"
    gc.collect()
    gc.freeze()  # else each copy would look through all of it, and so take memory of its own for it


def serve(listener: socket.socket) -> Request | None:
    """Fork for each request until standard input ends; in a copy, the request that it is to become."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            reap(0)
            return None
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return attended(connection)
        connection.close()
        reap(os.WNOHANG)


def reap(options: int) -> None:
    """Take leave of those that have ended, so that their time is counted with that of this process."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def attended(connection: socket.socket) -> Request:
    """The request of a copy, once it is one; another copy stays behind, tells its id and how it ended, and ends."""
    request = Request(connection)
    pid = os.fork()
    if pid == 0:
        connection.close()
        request.become()
        return request
    connection.sendall(pid.to_bytes(LENGTH_BYTES, "big", signed=True))
    for descriptor in request.descriptors:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(LENGTH_BYTES, "big", signed=True))
    os._exit(0)


def asked(address: str, arguments: Sequence[str]) -> int:
    """Ask for a process in the place of this one; how it ended, as the shell has it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        ask(server, arguments, str(Path.cwd()), os.environ, (0, 1, 2))
        code = told(server)
    return code if code >= 0 else 128 - code


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit(asked(sys.argv[1], sys.argv[2:]))
    warmed()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    with Ending():
        if request is not None:
            request.run()


if __name__ == "__main__":
    main()
