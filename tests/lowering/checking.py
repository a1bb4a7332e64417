"""Whether the lowering of one generated cell is right: every reason why not, in words."""

from __future__ import annotations

import copy
import traceback
from functools import partial

import numpy as np
import onnx_ir as ir

from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import CannotRun, LoweringRequest
from rnnexport.lowering.lower import lower
from tests.lowering.runtime import measure, run

NATIVE_OPS = {"LSTM", "GRU", "RNN"}
# (batch, timesteps, scale of x): what the lowering may look at, and what it is judged by.
SHOWN = ((2, 5, 1.0), (3, 1, 1.0), (4, 6, 3.0))
JUDGED = ((3, 7, 1.0), (5, 1, 2.0), (2, 9, 20.0))


def feeds(cell, sizes, salt):
    rng = np.random.default_rng([cell.seed, salt])
    return [cell.feed(batch, time, rng, scale) for batch, time, scale in sizes]


def failures(cell):
    """What is wrong with any lowering of the cell; a crash is one more reason."""
    try:
        return [f"{cell}: {reason}" for reason in Check(cell).reasons()]
    except Exception:  # noqa: BLE001 - one crash must not hide the other seeds
        return [f"{cell}: {traceback.format_exc(limit=-4)}"]


class Check:
    """One cell, and what its Loop computes."""

    def __init__(self, cell):
        self.cell = cell
        self.given = feeds(cell, JUDGED, 1)
        self.wanted = run(cell.model, self.given, optimized=False)
        self.run = partial(run, optimized=survives_optimization(cell.model, self.given))

    def lowered(self, form):
        """The model with its recurrence in this form, and what became of it; it is the first, should there be two."""
        model = ir.from_proto(copy.deepcopy(self.cell.model))  # what is lowered is changed in place, tensors too
        outcomes = lower(model, LoweringRequest(form=form), feeds(self.cell, SHOWN, 2), self.run, measure)
        return model, outcomes

    def reasons(self):
        model, outcomes = self.lowered("auto")
        if not outcomes:
            yield "no recurrence was found"
            return
        yield from self.judged("auto", model, outcomes)
        proven = set.intersection(*(set(outcome.proven) for outcome in outcomes))
        yield from self.native_reasons("native" in proven, outcomes)
        for form in sorted(proven - {"loop", outcomes[0].chosen}):  # the loop as it was is what it is compared with
            yield from self.judged(form, *self.lowered(form))

    def native_reasons(self, proven, outcomes):
        if self.cell.label is None and proven:
            yield f"a look-alike was taken for {outcomes[0].what}"
        if self.cell.label in NATIVE_OPS and not proven:
            yield f"native was refused: {outcomes[0].refused.get('native')}"
        elif not proven:
            yield from self.not_refused()

    def not_refused(self):
        """Asking for native must fail where it is not proven."""
        try:
            self.lowered("native")
        except ConversionError:
            return
        yield "native was not proven, yet asking for it did not fail"

    def judged(self, asked, model, outcomes):
        """What is wrong with a model that was lowered to the form asked for."""
        operators = {node.op_type for node in model.graph.all_nodes()}
        chosen = {outcome.chosen for outcome in outcomes}
        yield from (f"{asked}: a fault: {outcome.fault}" for outcome in outcomes if outcome.fault)
        if asked != "auto" and chosen != {asked}:
            yield f"{asked}: asked for, but got {chosen}"
        if "loop" not in chosen and "Loop" in operators:
            yield f"{asked}: there still is a Loop"
        if chosen == {"native"} and "Scan" in operators and "If" not in operators:
            yield f"{asked}: there is a Scan beside the native op"
        if chosen == {"native"} and self.cell.label in NATIVE_OPS and operators & NATIVE_OPS not in self.accepted:
            yield f"{asked}: became {operators & NATIVE_OPS}"
        yield from (f"{asked}: {reason}" for reason in self.differences(model))

    @property
    def accepted(self):
        return [{op} for op in self.cell.accepted]

    def differences(self, model):
        for (batch, time, scale), feed, wanted in zip(JUDGED, self.given, self.wanted, strict=True):
            (found,) = self.run(model, [feed])
            if list(found) != list(wanted):
                yield f"outputs {list(found)}, expected {list(wanted)}"
                continue
            for name, want in wanted.items():
                reason = difference(found[name], want)
                if reason:
                    yield f"{name} at B={batch} T={time} scale {scale}: {reason}"


def survives_optimization(model, given):
    """ORT 1.31 now and then breaks a Loop whose body hands on a value through an Identity (missing input)."""
    try:
        run(model, given)
    except CannotRun:
        return False
    return True


def difference(found, want):
    """Why two arrays are not the same, up to the rounding of float32; empty if they are."""
    if found.shape != want.shape or found.dtype != want.dtype:
        return f"{found.dtype} {found.shape}, expected {want.dtype} {want.shape}"
    if not np.isfinite(found).all():
        return "not finite"
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    if np.allclose(found, want, rtol=1e-4, atol=2e-5 * scale):
        return ""
    return f"off by {np.abs(found - want).max():.3g} of {scale:.3g}"
