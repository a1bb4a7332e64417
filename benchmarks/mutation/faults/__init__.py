"""The table of faults. Each is a pure function of a model that gives the places where it can be put."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.mutation.faults.activations import (
    activation_other,
    alpha_default,
    constant_off,
    hard_sigmoid_other,
    norm_epsilon,
    softmax_axis,
)
from benchmarks.mutation.faults.boundary import (
    batch_baked,
    inputs_swapped,
    outputs_swapped,
    parts_swapped,
    time_baked,
)
from benchmarks.mutation.faults.domains import branch_off, inputs_clipped, row_lost, rows_lost, steps_lost
from benchmarks.mutation.faults.gates import bias_dropped, gates_permuted, kernel_transposed
from benchmarks.mutation.faults.products import tf32
from benchmarks.mutation.faults.reset import reset_moved
from benchmarks.mutation.faults.sequences import mask_ignored, reversal_lost, step_off
from benchmarks.mutation.faults.states import initial_dropped, state_not_carried, state_not_reset
from benchmarks.mutation.faults.weights import conv_flipped, float16, table_moved, weight_off
from benchmarks.mutation.view import Fault

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "weight off by 1e-3": weight_off,
        "gates permuted": gates_permuted,
        "kernel transposed": kernel_transposed,
        "kernel flipped": conv_flipped,
        "reset before/after": reset_moved,
        "hard_sigmoid of the other Keras": hard_sigmoid_other,
        "bias dropped": bias_dropped,
        "state not carried": state_not_carried,
        "state not reset": state_not_reset,
        "initial state dropped": initial_dropped,
        "mask ignored": mask_ignored,
        "reversal lost": reversal_lost,
        "off by one step": step_off,
        "batch baked in": batch_baked,
        "time baked in": time_baked,
        "outputs swapped": outputs_swapped,
        "inputs swapped": inputs_swapped,
        "parts swapped": parts_swapped,
        "float16 weights": float16,
        "slope forgotten": alpha_default,
        "constant off by 1%": constant_off,
        "another activation": activation_other,
        "epsilon of a norm": norm_epsilon,
        "TF32 products": tf32,
        "embedding moved": table_moved,
        "softmax axis": softmax_axis,
        "row of an embedding": row_lost,
        "steps past a number": steps_lost,
        "rows past a number": rows_lost,
        "inputs clipped": inputs_clipped,
        "branch off": branch_off,
    }
)
