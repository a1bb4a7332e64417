"""What Triton can't serve, or would serve wrongly without a word, told before anything is written.

1. Triton puts requests together along axis 0 of every tensor, so that all of them have an open batch, or none has one.
2. It pairs the states before and after a run by their places among the sorted names, not by what is said of them.
3. A state starts from a value of known size.
4. It has no tensors without axes, and none of no elements.
"""

from __future__ import annotations

from collections.abc import Iterator

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.signature import BATCH, Signature, StateSpec, TensorSpec
from rnnexport.triton.serving import Serving

# Those that both Triton and its backend for ONNX Runtime know.
TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}
_OPEN_BATCH = "export a model whose batch is open (--batch dynamic, or --stream where no layer is stateful)"
_CHANGE = "change the model"


def is_batched(signature: Signature) -> bool:
    """Whether requests can share a run: the batch is open, in all tensors or in none (see `require_servable`)."""
    return any(BATCH in spec.shape for spec in _tensors(signature))


def require_servable(signature: Signature) -> None:
    """Refuse a model that Triton would refuse, or serve wrongly.

    Raises:
        ConversionError: names the tensor, and says what about it.
    """
    for spec in _tensors(signature):
        if spec.dtype not in TYPES:
            raise ConversionError(f"{spec}", f"a dtype that Triton runs ONNX with: {', '.join(TYPES)}", _CHANGE)
        if not spec.shape or 0 in spec.shape:
            raise ConversionError(f"{spec}", "at least one axis, and none of length 0: Triton has no others", _CHANGE)
    if is_batched(signature):
        for spec in _tensors(signature):
            if spec.shape[0] != BATCH or BATCH in spec.shape[1:]:
                raise ConversionError(
                    f"{spec}, where other tensors have an open batch",
                    "the batch as axis 0 of every tensor: Triton puts requests together there",
                    "change the model, or export it with a fixed batch, --batch N",
                )
    for state in signature.states:
        _require_start(state, is_batched(signature))
    _require_pairs(signature.states)


def require_options_apply(signature: Signature, serving: Serving) -> None:
    """Refuse what was asked and would mean nothing for this model.

    Raises:
        UsageError: names the option.
    """
    if not is_batched(signature):
        fixed = f"the batch of {signature.all_inputs[0]} is fixed" if signature.all_inputs else "there are no inputs"
        for option, value in (("--max-batch", serving.max_batch), ("--max-queue-delay", serving.max_queue_delay)):
            if value is not None:
                raise UsageError(
                    f"{option} {value}, but {fixed}",
                    "an open batch: each request runs alone otherwise",
                    f"leave {option} out, or {_OPEN_BATCH}",
                )
    if not signature.states and serving.asked_of_sequences:
        option = serving.asked_of_sequences[0]
        raise UsageError(
            f"{option} for a model without states",
            "a stream or a model with stateful layers: there is no sequence to keep otherwise",
            f"leave {option} out, or export it with --stream",
        )
    if serving.strategy == "direct" and serving.max_sequences is not None:
        raise UsageError(
            f"--max-sequences {serving.max_sequences} with --strategy direct",
            "--strategy oldest: direct carries as many sequences as --max-batch",
            "leave one of the two out",
        )


def _tensors(signature: Signature) -> Iterator[TensorSpec]:
    yield from signature.all_inputs
    yield from signature.all_outputs


def _require_start(state: StateSpec, batched: bool) -> None:
    spec = state.input
    if (spec.dtype, spec.shape) != (state.output.dtype, state.output.shape):
        raise ConversionError(
            f"{spec} and after it {state.output}", "one dtype and shape of a state", "export it again"
        )
    for dim in spec.shape[1:] if batched else spec.shape:
        if isinstance(dim, str):
            raise ConversionError(
                f"the state {spec} with the open dimension {dim}",
                "a state of fixed size but for the batch: Triton can't tell how much of it there is at the start",
                _CHANGE,
            )
    if batched and len(spec.shape) == 1:
        raise ConversionError(f"the state {spec}, one number a row", "a state with an axis besides the batch", _CHANGE)


def _require_pairs(states: tuple[StateSpec, ...]) -> None:
    """Triton keeps both sides in maps sorted by the bytes of the names and pairs the first with the first."""
    before = sorted(states, key=lambda state: state.input.name.encode())
    after = sorted(states, key=lambda state: state.output.name.encode())
    for first, second in zip(before, after, strict=True):
        if first is not second:
            raise ConversionError(
                f"the states {first.input.name} and {second.output.name} at one place of the sorted names",
                f"{first.output.name} there: Triton pairs states by their order, and would swap them",
                "rename the layers",
            )
