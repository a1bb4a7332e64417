"""The model configuration of an artifact, as Triton's own message, and the files its states start from.

The protobuf messages of a Triton model configuration, from NVIDIA's own client package.

`import tritonclient.grpc` brings gRPC and all of the client. The module of the messages needs none of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.compat.supported import module_alone
from rnnexport.core.errors import ProviderError
from rnnexport.core.signature import BATCH, Signature, StateSpec, TensorSpec, argument_name
from rnnexport.triton.refusals import TYPES, is_batched
from rnnexport.triton.serving import DEFAULT_MAX_BATCH, DEFAULT_MAX_SEQUENCES, Serving

_OPEN = -1
_KINDS = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}


@dataclass(frozen=True, eq=False)
class Configuration:
    """What Triton reads besides the model itself.

    Attributes:
        message: a `ModelConfig`.
        initial: the files of the states that do not start from zeros, by name: the raw numbers, little-endian.
    """

    message: Any
    initial: Mapping[str, bytes]


def configure(name: str, signature: Signature, serving: Serving) -> Configuration:
    """The configuration of a model that was found servable, see `refusals`.

    Sequence batching with implicit state for a model with states; dynamic batching for one without, where its batch is
    open. The batch is no part of dimensions where it is open; -1 is any other open dimension.

    Args:
        name: the name of the model on the server.
        signature: what goes in and comes out of one call.
        serving: what the user asks.

    Raises:
        ProviderError: tritonclient is not installed.
    """
    pb, batched = messages(), is_batched(signature)
    max_batch = (serving.max_batch or DEFAULT_MAX_BATCH) if batched else 0
    message = pb.ModelConfig(name=name, platform="onnxruntime_onnx", backend="onnxruntime", max_batch_size=max_batch)
    for spec in signature.inputs:
        _fill(message.input.add(), spec, batched)
    for spec in signature.outputs:
        _fill(message.output.add(), spec, batched)
    message.instance_group.add(count=serving.instances, kind=_KINDS[serving.device])
    initial: dict[str, bytes] = {}
    if signature.states:
        _fill_sequences(message.sequence_batching, max_batch, serving)
        # In the order in which Triton pairs them: that of the bytes of their names, the same on both sides.
        for at, state in enumerate(sorted(signature.states, key=lambda state: state.input.name.encode())):
            file = f"{at:02d}_{argument_name(state.input.name)}"
            initial |= _fill_state(message.sequence_batching.state.add(), state, batched, file)
    elif batched:
        message.dynamic_batching.max_queue_delay_microseconds = serving.max_queue_delay or 0
    return Configuration(message, initial)


def dims(spec: TensorSpec, batched: bool) -> list[int]:
    """The shape as Triton says it: without an open batch, and with -1 for every other open dimension."""
    shape = spec.shape[1:] if batched else spec.shape
    return [_OPEN if isinstance(dim, str) else dim for dim in shape]


def _fill(message: Any, spec: TensorSpec, batched: bool) -> None:
    message.name = spec.name
    message.data_type = TYPES[spec.dtype]
    message.dims.extend(dims(spec, batched) or [1])
    if spec.shape == (BATCH,):  # one number a row: Triton wants an axis for it, which the model has not
        message.reshape.SetInParent()


def _fill_sequences(message: Any, max_batch: int, serving: Serving) -> None:
    message.max_sequence_idle_microseconds = serving.idle_microseconds
    delay = serving.max_queue_delay or 0
    if serving.strategy == "direct":
        message.direct.max_queue_delay_microseconds = delay
        return
    # An instance must be able to fill a batch with one request of each sequence.
    sequences = serving.max_sequences or max(DEFAULT_MAX_SEQUENCES, max_batch)
    message.oldest.max_candidate_sequences = sequences
    message.oldest.max_queue_delay_microseconds = delay


def _fill_state(message: Any, state: StateSpec, batched: bool, file: str) -> dict[str, bytes]:
    """Say all of one state. Its initial value is always said: Triton starts from memory as it finds it otherwise."""
    message.input_name, message.output_name = state.input.name, state.output.name
    message.data_type = TYPES[state.input.dtype]
    message.dims.extend(dims(state.input, batched))
    # Triton asks for a name, and does not look at it.
    start = message.initial_state.add(name=state.input.name, data_type=message.data_type)
    start.dims.extend(message.dims)
    value = np.ascontiguousarray(state.initial[0] if batched else state.initial)
    data = value.astype(value.dtype.newbyteorder("<")).tobytes()
    if any(data):
        start.data_file = file
        return {file: data}
    start.zero_data = True
    return {}


def messages() -> Any:
    """The module with `ModelConfig` and its parts.

    Raises:
        ProviderError: tritonclient is not installed.
    """
    module = module_alone("tritonclient.grpc.model_config_pb2")
    if module is None:
        raise ProviderError(
            "tritonclient is not installed", "it, for Triton's own protobuf", "pip install 'rnnexport[triton]'"
        )
    return module
