"""An ONNX file in other runtimes than ONNX Runtime for Python: tract, those of JavaScript, and OpenVINO where this ONNX
Runtime does not have it.

Each reads the file by itself. tract ends the process on some of the files that it can't run: `--portable`
writes others.

An ONNX file in ONNX Runtime for Node.js and in ONNX Runtime Web, as npm packages have them, in a process of `node`.

A package is looked for as Node.js looks for it: in `node_modules` of this folder and of those above, and in NODE_PATH.
Web computes in WebAssembly there, as in a browser without a GPU.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from rnnexport.core.errors import CrashError, ForeignCode, ProviderError, RaisedError, one_line, reason
from rnnexport.core.placement import Placement
from rnnexport.targets.base import RuntimeTensor
from rnnexport.targets.onnx.metadata import external_files, lean

PACKAGES = ("onnxruntime-node", "onnxruntime-web")
_SCRIPT = Path(__file__).with_name("javascript.cjs")
_LENGTH = struct.Struct("<I")
_END = 10.0  # seconds that it may take to end when nobody asks any longer


class Node:
    """A process of `node` that has loaded a file.

    Args:
        process: it, its standard input and output ours.
        label: the file and the package, for messages.
    """

    def __init__(self, process: subprocess.Popen[bytes], label: str) -> None:
        self._process, self._label = process, label

    def call(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for a feed, by name.

        Raises:
            RaisedError: what the runtime threw.
            CrashError: it ended its process.
        """
        self._send(feed)
        told = self.told()
        if "raised" in told:
            raise RaisedError(told["raised"])
        return {each["name"]: self._array(each) for each in told["outputs"]}

    def told(self) -> dict[str, Any]:
        """The head of what it says next. Raises CrashError."""
        (size,) = _LENGTH.unpack(self._read(_LENGTH.size))
        told: dict[str, Any] = json.loads(self._read(size))
        return told

    def _send(self, feed: Mapping[str, np.ndarray]) -> None:
        heads: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for name, array in feed.items():
            head = {"name": name, "dtype": array.dtype.name, "shape": array.shape, "size": array.nbytes}
            if array.dtype.kind in "OUT":
                heads.append({**head, "dtype": "string", "size": 0, "strings": list(map(str, array.ravel()))})
                continue
            heads.append(head)
            parts.append(np.ascontiguousarray(array).tobytes())
        text = json.dumps(heads).encode()
        stdin = self._process.stdin
        assert stdin is not None, "a pipe"
        try:
            stdin.write(b"".join((_LENGTH.pack(len(text)), text, *parts)))
            stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _array(self, head: Mapping[str, Any]) -> np.ndarray:
        if head["dtype"] == "string":
            return np.array(head["strings"], object).reshape(head["shape"])
        return np.frombuffer(self._read(head["size"]), head["dtype"]).reshape(head["shape"])

    def _read(self, size: int) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None, "a pipe"
        found = stdout.read(size)
        if len(found) < size:
            raise self._ended()
        return found

    def _ended(self) -> CrashError:
        return CrashError(
            f"{self._label} ended its process with code {self._process.wait()}", "a result", "export with --portable"
        )


@contextmanager
def node(path: Path, package: str, beside: Sequence[Path]) -> Iterator[tuple[Node, str]]:
    """Load `path` in a package of `PACKAGES`, and say which versions run it.

    Args:
        path: the file.
        package: the name of the npm package.
        beside: files beside it that hold its weights.

    Raises:
        ProviderError: `node` or the package is not here, or the package does not take the file.
        CrashError: it ended its process.
    """
    program = shutil.which("node")
    if program is None:
        raise ProviderError("there is no program node on this host", f"Node.js and {package}", "install Node.js 18")
    arguments = [program, str(_SCRIPT), package, str(path.absolute()), *map(str, beside)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        loaded = Node(process, f"{path.name} in {package}")
        yield loaded, _versions(loaded.told(), path, package)
    finally:
        _end(process)


def _versions(told: Mapping[str, Any], path: Path, package: str) -> str:
    if "missing" in told:
        raise ProviderError(
            f"Node.js finds no package {package} from {Path.cwd()}", "it, installed", f"npm install {package}"
        )
    if "refused" in told:
        raise ProviderError(
            f"{package} does not take {path.name}: {one_line(told['refused'])}",
            "a file it loads",
            "export with --portable, or verify on another provider",
        )
    return ", ".join(f"{name} {version}" for name, version in told["versions"].items())


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


Call = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
InOrder = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


class OtherRunner:
    """See `Runner`.

    Args:
        call: takes the inputs and gives the outputs, by name.
        boundary: of the file.
        runtime: what runs it, with versions.
    """

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, call: Call, boundary: onnx.GraphProto, runtime: str) -> None:
        self._call = call
        self.settings: Mapping[str, str] = {"runtime": runtime}
        self.inputs = tuple(map(_tensor, boundary.input))
        self.outputs = tuple(map(_tensor, boundary.output))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self._call({tensor.name: np.ascontiguousarray(feed[tensor.name]) for tensor in self.inputs})
        return {tensor.name: found[tensor.name] for tensor in self.outputs}

    def at(self, entry: str) -> OtherRunner:
        raise KeyError(entry)

    def placement(self) -> Placement | None:
        return None


@contextmanager
def open_other(path: Path, provider: str) -> Iterator[OtherRunner]:
    """Load `path` in the runtime of that name, one of `OTHERS`.

    Raises:
        ProviderError: the runtime is not here, or does not take the file.
        CrashError: it ended its process.
    """
    if provider in PACKAGES:
        with node(path, provider, external_files(path)) as (loaded, runtime):
            yield OtherRunner(loaded.call, lean(path).graph, runtime)
        return
    try:
        module = import_module(provider)
    except ModuleNotFoundError as error:
        raise ProviderError(
            f"{provider} is not installed", f"the runtime {provider}", "pip install 'rnnexport[portable]'"
        ) from error
    with ForeignCode(partial(_refused, path, provider)):
        call = _MODULES[provider](module, path)
    boundary = lean(path).graph
    yield OtherRunner(_by_name(call, boundary), boundary, f"{provider} {version(provider)}")


def _by_name(call: InOrder, boundary: onnx.GraphProto) -> Call:
    names = [value.name for value in boundary.output]
    return lambda feed: dict(zip(names, call(list(feed.values())), strict=True))


def _tract(tract: ModuleType, path: Path) -> InOrder:
    runnable = tract.onnx().load(str(path)).into_model().into_runnable()
    return lambda arrays: [found.to_numpy() for found in runnable.run(list(arrays))]


def _openvino(openvino: ModuleType, path: Path) -> InOrder:
    # Left to itself it computes in bfloat16 where the processor can.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: list(model(list(arrays)).to_tuple())


_MODULES: Mapping[str, Callable[[ModuleType, Path], InOrder]] = {"tract": _tract, "openvino": _openvino}
OTHERS = (*_MODULES, *PACKAGES)


def _refused(path: Path, provider: str, error: BaseException) -> ProviderError:
    return ProviderError(
        f"{provider} does not take {path.name}: {one_line(reason(error).partition('Stack backtrace:')[0])}",
        "a file it loads",
        "export with --portable, or verify on another provider",
    )


def _tensor(value: onnx.ValueInfoProto) -> RuntimeTensor:
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return RuntimeTensor(value.name, dtype, tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim))
