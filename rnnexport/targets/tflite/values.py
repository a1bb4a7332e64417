"""The values inside a TFLite file: the interpreter keeps every tensor of the first graph, the main signature's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from rnnexport.artifact.layer_map import InnerValue, InnerValues
from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, reason
from rnnexport.core.signature import argument_name
from rnnexport.targets.tflite.metadata import parse
from rnnexport.targets.tflite.runner import main_signature

# Numbers that one value may hold: 64 MiB of float32.
LARGEST = 1 << 24


def inner_values(
    path: Path, feed: Mapping[str, np.ndarray], provider: str = "cpu", *, tf32: bool = False
) -> InnerValues:
    """Every floating-point value inside the file at `path`, for one feed. Delegates, which fuse operators, are off.

    Args:
        feed: an array for every input, by its Keras name.
        provider: `cpu`, the one of this target.
        tf32: no matter here.

    Raises:
        UsageError: the file can't be read, or the runtime refuses it.
        ProviderError: ai-edge-litert is not installed.
    """
    del provider, tf32
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ModuleNotFoundError as error:
        raise ProviderError(
            "ai-edge-litert is not installed", "LiteRT, to look inside a TFLite file", "pip install 'rnnexport[cpu]'"
        ) from error
    computed = list(dict.fromkeys(_computed(path)))
    found: list[InnerValue] = []
    left_out: list[str] = []
    with ForeignCode(partial(_refused, path)):
        interpreter = Interpreter(
            model_path=str(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        runner = interpreter.get_signature_runner(main_signature(interpreter))
        runner(**{argument_name(name): array for name, array in feed.items()})
        details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
        for index in computed:
            detail = details[index]
            # Two tensors may share a name.
            name = f"{index}: {detail['name']}"
            if not np.issubdtype(detail["dtype"], np.floating):
                continue
            if np.prod(detail["shape"]) > LARGEST:
                left_out.append(name)
            else:
                found.append(InnerValue(name, np.array(interpreter.get_tensor(index))))
    return InnerValues(tuple(found), tuple(left_out))


def _computed(path: Path) -> Iterator[int]:
    """The indices of the tensors that operators give, in the order of these."""
    model, _ = parse(path)
    with ForeignCode(partial(_refused, path)):
        graph = model.Subgraphs(0)
        for position in range(graph.OperatorsLength()):
            operator = graph.Operators(position)
            for output in range(operator.OutputsLength()):
                if operator.Outputs(output) >= 0:
                    yield int(operator.Outputs(output))


def _refused(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"LiteRT can't run {path.name}: {reason(error)}", "a whole TFLite file", "export it again")
