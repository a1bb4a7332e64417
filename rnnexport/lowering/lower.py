"""Lower every recurrence of a graph: recognise, derive the forms, check each against the Loop, choose, put in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import FORMS, CannotRun, LoweringDecision, LoweringRequest
from rnnexport.ir.loop_body import outer
from rnnexport.ir.loop_invariants import is_zero
from rnnexport.ir.recurrence import name_of
from rnnexport.ir.sequences import double_reversals, length_term
from rnnexport.ir.terms import Terms
from rnnexport.lowering.bidirectional import join_directions
from rnnexport.lowering.candidates import derive
from rnnexport.lowering.compaction import compact_once
from rnnexport.lowering.cost_model import (
    CHUNKED_FROM,
    CHUNKED_TO,
    Choice,
    Measure,
    choose,
    in_chunks,
    measured,
    resized,
    size_text,
    split,
)
from rnnexport.lowering.differential_check import (
    Feed,
    LoopInterface,
    Run,
    boundary_of,
    disagreement,
    nudged,
    standalone_model,
    trials,
    untouched,
)
from rnnexport.lowering.emit import bytes_of, put_in_place, replace_value
from rnnexport.lowering.forms import Form, either, few_rows, long_and_narrow

_SEED = 4
# Two forms of one recurrence have weights of their own. More bytes than these are not kept twice.
_TWICE = 1 << 22


def lower(
    model: ir.Model, request: LoweringRequest, feeds: Sequence[Feed], run: Run, measure: Measure
) -> tuple[LoweringDecision, ...]:
    """Give every `Loop` of `model`, in place, the fastest form that is proven equal.

    Args:
        model: as the converter made it, its inputs and outputs already those of the signature.
        request: what is wanted.
        feeds: for the inputs of `model`, several batches and lengths: what the Loops see while it runs on them is the
            base of the numerical check.
        run: runs a model.
        measure: times models, for `request.tune`.

    Returns:
        What became of each recurrence, in the order of the graph.

    Raises:
        ConversionError: `request.form` is not proven for some recurrence.
    """
    infer = ShapeInferencePass(check_type=False, strict_mode=False)
    infer(model)
    loops = [node for node in model.graph if node.op_type == "Loop" and not node.domain]
    done = []
    for loop in loops:
        # A recurrence is read, and checked on what it sees, in the model as it is by then, the earlier ones lowered.
        done.append(_Lowering(model, loop, feeds, run, request.batch).by(request, measure))
        infer(model)  # reversals and masks are told by lengths that are known
    for second, source in double_reversals(model.graph):
        replace_value(model.graph, second.outputs[0], source, second)
    compact_once(model)
    RemoveUnusedNodesPass()(model)
    if not request.portable:
        join_directions(model.graph)
    return tuple(done)


class _Lowering:
    """The lowering of one Loop."""

    def __init__(
        self, model: ir.Model, loop: ir.Node, feeds: Sequence[Feed], run: Run, batch: int | None = None
    ) -> None:
        self._model, self._loop, self._feeds, self._run = model, loop, feeds, run
        self._derived = derive(loop, batch)
        self._boundary = boundary_of(loop, self._derived.forms.values())

    def by(self, request: LoweringRequest, measure: Measure) -> LoweringDecision:
        """Check, choose, and put in place."""
        derived = self._derived
        unfit: Mapping[str, str] = {}
        faults: Mapping[str, str] = {}
        if derived.forms and request.form != "loop":
            try:
                unfit, faults = self._checked()
            except CannotRun as error:
                unfit = dict.fromkeys(derived.forms, f"the Loop can't be run to check it: {error}")
        forms = {name: form for name, form in derived.forms.items() if name not in unfit and name not in faults}
        refused = {**derived.refused, **unfit, **faults}
        if request.portable and "native" in forms and derived.not_portable:
            refused["native"] = f"not every runtime computes it: {derived.not_portable}"
            del forms["native"]
        unwanted = [op for op in derived.operators if op in request.without]
        if unwanted and "native" in forms and len(forms) > 1:
            refused["native"] = f"there is no {unwanted[0]} of integers"
            del forms["native"]
        choice = self._choice(request, forms, refused, measure)
        name = name_of(self._loop)
        if choice.form != "loop":
            put_in_place(self._model.graph, self._loop, self._chosen(choice, forms), derived.constants)
        proven = tuple(form for form in FORMS if form in forms or form == "loop")
        fault = "; ".join(f"{form}: {what}" for form, what in faults.items())
        return LoweringDecision(name, derived.what, choice.form, choice.why, proven, refused, fault)

    def _chosen(self, choice: Choice, forms: Mapping[str, Form]) -> Form:
        form, sizes = forms[choice.form], self._derived.sizes
        if sizes is None or not choice.other:
            return form
        if choice.other == "chunked":
            steps = length_term(sizes.length, sizes.terms)
            condition = long_and_narrow(steps, CHUNKED_FROM, sizes.initial, CHUNKED_TO, sizes.terms)
            return either(condition, forms["chunked"], form, sizes.terms)
        return either(few_rows(choice.most, sizes.initial, sizes.terms), form, forms[choice.other], sizes.terms)

    def _checked(self) -> tuple[dict[str, str], dict[str, str]]:
        """(unfit, faults): forms that the runtime refuses, and forms that do not agree with the Loop.

        The second is a fault of the derivation or of this code: the Loop is kept, and it is told loudly.
        """
        seen = self._seen(self._feeds)
        frozen = [_is_frozen(value) for value in self._boundary.inputs]
        loop = untouched(self._loop, self._boundary, seen[0], self._model)
        every, wanted, moved = self._tried(loop, list(trials(seen, frozen, _SEED)), frozen)
        unfit, faults = {}, {}
        for name, form in self._derived.forms.items():
            try:
                found = self._outputs(self._alone(form, seen[0]), every)
            except CannotRun as error:
                unfit[name] = f"the runtime refuses it: {error}"
                continue
            differs = [disagreement(*each) for each in zip(wanted, moved, found, strict=True)]
            if any(differs):
                faults[name] = next(filter(None, differs))
        return unfit, faults

    def _tried(
        self, loop: ir.Model, every: Sequence[Sequence[np.ndarray]], frozen: Sequence[bool]
    ) -> tuple[list[Sequence[np.ndarray]], list[list[np.ndarray]], list[list[np.ndarray]]]:
        """(inputs, outputs, outputs for nudged inputs) of the Loop, where it runs: it may look up what it computes."""
        pairs = [(arrays, nudged(arrays, frozen, _SEED)) for arrays in every]
        try:
            sides = [self._outputs(loop, side) for side in zip(*pairs, strict=True)]
        except CannotRun:
            kept = [pair for pair in pairs if self._runs(loop, pair)]
            if not kept:
                raise
            pairs, sides = kept, [self._outputs(loop, side) for side in zip(*kept, strict=True)]
        return [arrays for arrays, _ in pairs], sides[0], sides[1]

    def _runs(self, loop: ir.Model, pair: Sequence[Sequence[np.ndarray]]) -> bool:
        try:
            self._outputs(loop, pair)
        except CannotRun:
            return False
        return True

    def _alone(self, form: Form, sample: Sequence[np.ndarray]) -> ir.Model:
        return standalone_model(form, self._derived.constants, self._boundary, sample, self._model)

    def _seen(self, feeds: Sequence[Feed]) -> list[list[np.ndarray]]:
        """What the inputs of the recurrence are while the model runs."""
        return seen_by(self._model, self._boundary, feeds, self._run)

    def _outputs(self, model: ir.Model, every: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        names = [str(value.name) for value in model.graph.outputs]
        return [[found[name] for name in names] for found in self._run(model, list(map(_fed, every)))]

    def _choice(
        self, request: LoweringRequest, forms: Mapping[str, Form], refused: Mapping[str, str], measure: Measure
    ) -> Choice:
        if request.form not in ("auto", "loop") and request.form not in forms:
            raise ConversionError(
                f"{name_of(self._loop)} has no proven form {request.form}: {refused[request.form]}",
                "a recurrence that has one",
                "use --lowering auto, or another form",
            )
        if request.form != "auto":
            return Choice(request.form, request.because)
        if not forms:
            return Choice("loop", "no other form is proven")
        if request.tune is not None:
            (arrays,) = self._seen([resized(self._model, self._feeds[0], request.tune)])
            models = {name: self._alone(form, arrays) for name, form in forms.items()}
            models["loop"] = untouched(self._loop, self._boundary, arrays, self._model)
            return measured(models, _fed(arrays), size_text(self._model, request.tune), measure)
        costs = {name: cost for name, cost in self._derived.costs.items() if name in forms or name == "loop"}
        choice = choose(costs, request.provider, self._derived.off_cuda)
        one_form = request.provider != "cpu" or request.portable or request.without
        if one_form or self._derived.sizes is None:
            return choice
        steps = self._derived.sizes.length.fixed
        if choice.form == "scan" and "chunked" in forms and (steps is None or steps >= CHUNKED_FROM):
            return in_chunks(choice)
        two = split(choice, costs)
        twice = sum(bytes_of(forms[name], self._derived.constants) for name in (two.form, two.other) if two.other)
        return two if twice <= _TWICE else choice


def _fed(arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"in_{at}": array for at, array in enumerate(arrays)}


def _is_frozen(value: ir.Value) -> bool:
    """Whether a form was derived from what the value is: zero, or computed from constants."""
    leaf = outer(value, Terms())
    return leaf.op != "Outer" or is_zero(leaf)


def seen_by(model: ir.Model, boundary: LoopInterface, feeds: Sequence[Feed], run: Run) -> list[list[np.ndarray]]:
    """What the inputs of a boundary are while the model runs on the feeds."""
    probe = model.clone()
    given = {value.name for value in model.graph.inputs}
    names = [str(value.name) for value in boundary.inputs]
    values = {value.name: value for node in probe.graph for value in node.outputs}
    wanted = [values[name] for name in dict.fromkeys(names) if name not in given]
    probe.graph.outputs.clear()
    probe.graph.outputs.extend(wanted)
    RemoveUnusedNodesPass()(probe)  # what is behind the recurrence may be most of the model
    outputs: list[dict[str, np.ndarray]] = run(probe, feeds) if wanted else [{} for _ in feeds]
    return [
        [feed[name] if name in given else found[name] for name in names]
        for feed, found in zip(feeds, outputs, strict=True)
    ]
