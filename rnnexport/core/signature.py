"""The boundary of a model: the names, dtypes and shapes that every artifact of it must show.

A dimension is an `int` where it is fixed and a name where it is dynamic: `batch`, `time`, or `<tensor>_axis<k>`
for another one. One name is one length, in every tensor that carries it.

Text has NumPy's own dtype of strings, `str`, which every file format of NumPy keeps.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from rnnexport.core.errors import UsageError
from rnnexport.core.names import STATE, Names

Dim = int | str
BATCH = "batch"
TIME = "time"
_SEQUENCE_RANK = 3  # batch, timesteps, features
Length = int | Literal["dynamic"] | None
_NAMES = Names()


@dataclass(frozen=True)
class Range:
    """What the user says of the values of an input or a state: from `low` to `high`."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= self.high):
            raise UsageError(f"--range {self.name}:{self.low:g}:{self.high:g}", "NAME:LOW:HIGH", "change it")


@dataclass(frozen=True)
class Boundary:
    """What the user asks of batch and length: a number to fix it, `dynamic`, or None for what the model says.

    `ranges` are those of the values that inputs will have, and `names` new ones, where the user says so.
    """

    batch: Length = None
    timesteps: Length = None
    ranges: tuple[Range, ...] = ()
    names: Names = _NAMES

    def __post_init__(self) -> None:
        for option, value in (("--batch", self.batch), ("--timesteps", self.timesteps)):
            if not (value in (None, "dynamic") or (isinstance(value, int) and value > 0)):
                raise UsageError(f"{option} {value}", "a number above 0, or 'dynamic'", "change it")


@dataclass(frozen=True)
class Extent:
    """What one call of an artifact takes.

    Attributes:
        boundary: batch and length, of whole sequences.
        stream: the steps of a chunk, `dynamic` for any, or None for what is no stream.
        cast: `float32` for an artifact that computes in it whatever its source computes in; empty for the source's.
    """

    boundary: Boundary
    stream: Length = None
    cast: str = ""

    def __post_init__(self) -> None:
        number = isinstance(self.stream, int) and not isinstance(self.stream, bool) and self.stream > 0
        if not number and self.stream not in (None, "dynamic"):
            raise UsageError(f"--stream {self.stream}", "a number of timesteps above 0, or 'dynamic'", "change it")
        if self.cast not in ("", "float32"):
            raise UsageError(f"--cast {self.cast}", "float32", "change it")

    def with_fixed_sizes(self) -> Extent:
        """The same for a format that wants all lengths fixed: there a chunk is one step unless a number is given."""
        return replace(self, stream=1) if self.stream == "dynamic" else self

    @property
    def called(self) -> Boundary:
        """The boundary of a call: of a chunk of a stream, whose length is open unless it has a number, or the whole."""
        if self.stream is None:
            return self.boundary
        return replace(self.boundary, timesteps=None if self.stream == "dynamic" else self.stream)

    @property
    def whole(self) -> Boundary:
        """The boundary of whole sequences: of a stream they have no states, and so no ranges of these."""
        if self.stream is None:
            return self.boundary
        ranges = tuple(one for one in self.boundary.ranges if not one.name.startswith(STATE))
        return replace(self.boundary, ranges=ranges)

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back."""
        sizes = {"batch": self.boundary.batch, "timesteps": self.boundary.timesteps, "stream": self.stream}
        ranges = [[one.name, one.low, one.high] for one in self.boundary.ranges]
        more = ({"ranges": ranges} if ranges else {}) | ({"cast": self.cast} if self.cast else {})
        return sizes | more | self.boundary.names.to_json()

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Extent:
        """The inverse of `to_json`. UsageError where `value` holds no sizes."""
        ranges = tuple(Range(str(name), float(low), float(high)) for name, low, high in value.get("ranges", ()))
        boundary = Boundary(value.get("batch"), value.get("timesteps"), ranges, Names.from_json(value))
        return Extent(boundary, value.get("stream"), str(value.get("cast", "")))


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the Keras name.
        dtype: the NumPy name of the dtype, such as `float32`.
        shape: one `Dim` an axis.
        high: for inputs that index a vocabulary, the first id that is out of it.
        words: the same where other ids are allowed, too.
        columns: the places on the last axis that hold these ids; None for all.
        range: the least and the largest value that feeds are made of; None for what the dtype suggests.
        mask: the value that marks padding, at a timestep; None where the model has no mask.
        keys: some of the integers or words that a lookup knows, which feeds are to have; None where nothing is looked
            up.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    high: int | None = None
    mask: float | None = None
    words: int | None = None
    columns: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None
    keys: tuple[int, ...] | tuple[str, ...] | None = None

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with every dynamic dimension given its size. KeyError where one has none."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back."""
        optional: dict[str, Any] = {"high": self.high, "mask": self.mask, "words": self.words}
        optional |= {"columns": self.columns and list(self.columns), "range": self.range and list(self.range)}
        optional |= {"keys": self.keys and list(self.keys)}
        given = {key: value for key, value in optional.items() if value is not None}
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)} | given

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> TensorSpec:
        """The inverse of `to_json`. KeyError or TypeError where `value` is of another form."""
        columns, bounds, keys = value.get("columns"), value.get("range"), value.get("keys")
        return TensorSpec(
            value["name"],
            value["dtype"],
            tuple(value["shape"]),
            value.get("high"),
            value.get("mask"),
            value.get("words"),
            None if columns is None else tuple(map(int, columns)),
            None if bounds is None else (float(bounds[0]), float(bounds[1])),
            None if keys is None else tuple(map(str, keys)) if value["dtype"] == TEXT else tuple(map(int, keys)),
        )

    def ids(self, array: np.ndarray) -> np.ndarray:
        """Those values of the input that are ids, where it has a vocabulary."""
        if self.columns is None or not array.ndim:
            return array
        return array[..., [at for at in self.columns if at < array.shape[-1]]]


@dataclass(frozen=True, eq=False)
class StateSpec:
    """One recurrent state: an input, the output that follows it, and where it starts.

    Attributes:
        layer: the Keras name of the layer that owns the state.
        input: the state before the call.
        output: the state after the call; dtype and shape are those of `input`.
        initial: the value of a fresh layer, of the input's shape; one row where the batch is open, the same for all.
    """

    layer: str
    input: TensorSpec
    output: TensorSpec
    initial: np.ndarray

    def start(self, batch: int) -> np.ndarray:
        """The state of `batch` fresh rows; where the batch is fixed, of as many as it is fixed to."""
        return np.broadcast_to(self.initial, self.input.sized({BATCH: batch})).copy()

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back. An initial value that is one number throughout is written as that."""
        flat = self.initial.ravel()
        constant = flat.size > 0 and bool(np.all(flat == flat[0]))
        return {
            "layer": self.layer,
            "input": self.input.to_json(),
            "output": self.output.to_json(),
            "initial": flat[0].item() if constant else self.initial.tolist(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> StateSpec:
        """The inverse of `to_json`."""
        spec = TensorSpec.from_json(value["input"])
        initial = np.broadcast_to(np.asarray(value["initial"], spec.dtype), spec.sized({BATCH: 1}))
        return StateSpec(value["layer"], spec, TensorSpec.from_json(value["output"]), initial)


@dataclass(frozen=True, eq=False)
class Signature:
    """All that goes in and comes out. States come after the ordinary tensors, in one order on both sides."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()

    @property
    def all_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, then the states before the call."""
        return self.inputs + tuple(state.input for state in self.states)

    @property
    def all_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, then the states after the call."""
        return self.outputs + tuple(state.output for state in self.states)

    @property
    def dynamic_dims(self) -> tuple[str, ...]:
        """The names of the dynamic dimensions of the inputs, each once, in order of appearance."""
        return tuple(dict.fromkeys(d for spec in self.all_inputs for d in spec.shape if isinstance(d, str)))

    def fresh_states(self, batch: int) -> dict[str, np.ndarray]:
        """The states of `batch` fresh rows, by the names of their inputs."""
        return {state.input.name: state.start(batch) for state in self.states}

    def carried(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The states that came out of one call, as the next one takes them. KeyError where one did not come out."""
        return {state.input.name: outputs[state.output.name] for state in self.states}

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "states": [state.to_json() for state in self.states],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Signature:
        """The inverse of `to_json`."""
        return Signature(
            tuple(map(TensorSpec.from_json, value["inputs"])),
            tuple(map(TensorSpec.from_json, value["outputs"])),
            tuple(map(StateSpec.from_json, value["states"])),
        )


def dynamic_length(name: str, dims: Sequence[str]) -> UsageError:
    """What is wrong with a model that has open dimensions, in a format that is unrolled."""
    return UsageError(
        f"{name} has a dynamic {', '.join(dims)}",
        "fixed sizes for TFLite, which is unrolled",
        f"{'give --timesteps N' if TIME in dims else 'fix them in the Input layers of the model'}, or --form rolled",
    )


def time_axis(spec: TensorSpec, signature: Signature) -> int | None:
    """The axis of an output that counts timesteps; None where it has none, or nothing tells.

    An axis of open length says so by its name. A fixed one is told by a sequence among the inputs of that length.
    """
    if len(spec.shape) < 2:
        return None
    size = spec.shape[1]
    if isinstance(size, str):
        return 1 if size == TIME or size.endswith(f"_{TIME}") else None
    sequences = {source.shape[1] for source in signature.inputs if len(source.shape) >= _SEQUENCE_RANK}
    return 1 if len(spec.shape) >= _SEQUENCE_RANK and size in sequences else None


def timesteps(feed: Mapping[str, np.ndarray], signature: Signature) -> int:
    """The length of the longest sequence among the inputs of a call; 1 where there is none."""
    lengths = [feed[spec.name].shape[1] for spec in signature.inputs if spec.name in feed and _is_sequence(spec)]
    return max(lengths, default=1)


def _is_sequence(spec: TensorSpec) -> bool:
    if len(spec.shape) >= _SEQUENCE_RANK:
        return True
    size = spec.shape[1] if len(spec.shape) > 1 else 0
    return isinstance(size, str) and (size == TIME or size.endswith(f"_{TIME}"))


def unique_names(wanted: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """`wanted`, with `_1`, `_2`... behind a name that came before or is in `taken` (the rule of Keras 2)."""
    seen = set(taken)
    names = []
    for name in wanted:
        candidate, count = name, 0
        while candidate in seen:
            count += 1
            candidate = f"{name}_{count}"
        seen.add(candidate)
        names.append(candidate)
    return names


def argument_name(name: str) -> str:
    """The Keras name as an ASCII identifier that starts with a letter, as TensorFlow asks of a signature."""
    identifier = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not identifier[:1].isalpha():
        identifier = f"input_{identifier.lstrip('_')}"
    return f"{identifier}_" if keyword.iskeyword(identifier) or identifier == "self" else identifier


TEXT = "str"  # the name of the dtype in signatures


def as_text(array: np.ndarray) -> np.ndarray:
    """The array, bytes in it decoded: TensorFlow and ONNX Runtime give text as objects."""
    if array.dtype.kind not in "OS":
        return array
    words = [word.decode("utf-8", "backslashreplace") if isinstance(word, bytes) else str(word) for word in array.flat]
    return np.array(words, str).reshape(array.shape)
