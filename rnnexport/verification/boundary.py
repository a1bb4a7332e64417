"""What the runtime shows of an artifact's signatures against what they have to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rnnexport.core.signature import BATCH, Signature, TensorSpec, argument_name
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP, Runner, RuntimeTensor


def boundary_problems(runner: Runner, signature: Signature, input_name: Callable[[str], str]) -> list[str]:
    """What the runtime shows of inputs and outputs against what the signature says, in words."""
    inputs = [(input_name(spec.name), spec) for spec in signature.all_inputs]
    outputs = [(spec.name, spec) for spec in signature.all_outputs]
    return _side("input", runner.inputs, inputs, runner.ordered) + _side(
        "output", runner.outputs, outputs, runner.ordered
    )


def other_problems(
    runner: Runner, signature: Signature, sequence: Signature | None, input_name: Callable[[str], str]
) -> list[str]:
    """What is wrong with the signatures that an artifact with states has besides the main one, in words.

    Args:
        runner: of the main one. A format without signatures has no others.
        signature: what goes in and comes out.
        sequence: of a stream, the same of whole sequences, which it may do without; None for what is no stream.
        input_name: the name that an input has in the artifact.
    """
    if not runner.entries or not signature.states:
        return []
    needed = (STEP, INITIAL_STATE) if sequence is not None else (SIGNATURE, STEP, INITIAL_STATE)
    missing = [entry for entry in needed if entry not in runner.entries]
    problems = [f"no signature {entry}, only {', '.join(runner.entries)}" for entry in missing]
    for entry, boundary in other_boundaries(runner, signature, sequence).items():
        found = boundary_problems(runner.at(entry), boundary, input_name)
        problems += [f"{problem} (signature {entry})" for problem in found]
    return problems


def other_boundaries(runner: Runner, signature: Signature, sequence: Signature | None) -> Mapping[str, Signature]:
    """What goes into and comes out of each signature but the main one. Arguments as of `other_problems`.

    SIGNATURE is the main one by another name, which is `signature` itself, but in a stream that takes whole sequences.
    """
    if not signature.states:
        return {}
    by_row = any(BATCH in state.input.shape for state in signature.states)
    batch = (TensorSpec(BATCH_ARGUMENT, "int32", ()),) if by_row else ()
    # Under the names that STEP takes them by.
    initial = Signature(
        batch, tuple(replace(one.input, name=argument_name(one.input.name)) for one in signature.states)
    )
    known = {SIGNATURE: signature if sequence is None else sequence, INITIAL_STATE: initial}
    return {entry: boundary for entry, boundary in known.items() if entry in runner.entries}


def _side(
    kind: str, found: Sequence[RuntimeTensor], wanted: Sequence[tuple[str, TensorSpec]], ordered: bool
) -> list[str]:
    names, wanted_names = [tensor.name for tensor in found], [name for name, _ in wanted]
    same = names == wanted_names if ordered else sorted(names) == sorted(wanted_names)
    if not same:
        return [f"{kind}s are {names}, not {wanted_names}"]
    specs = dict(wanted)
    told = [(tensor.name, tensor.disagrees(specs[tensor.name], may_be_open=kind == "output")) for tensor in found]
    return [f"{kind} {name}: {problem}" for name, problem in told if problem]
