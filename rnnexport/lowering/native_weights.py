"""Weights and attributes of the ONNX operators LSTM, GRU and RNN, of a matched cell.

Layouts, from the ONNX operator specification:  W (1, G*H, I), R (1, G*H, H), B (1, 2*G*H) with the biases of W before
those of R, P (1, 3*H) for i, o, f. Gates stand in the order z r h, or i o f c; the matrices of a cell are (inputs, H),
as Keras has them, and are transposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnexport.ir.terms import Term, Terms
from rnnexport.lowering.cells import DEFAULT_ACTIVATIONS, Cell
from rnnexport.lowering.gates import Function


def weights_of(
    cell: Cell, columns: Mapping[Term, int], keeps: float | None, terms: Terms
) -> tuple[Term, Term, Term | None]:
    """W, R and B; no B where it is zero.

    Args:
        cell: the cell.
        columns: where each part of the input begins.
        keeps: the weight of one column more, behind them, that keeps the state of a GRU where it is 1.
        terms: what makes the terms.
    """
    count, size = len(cell.gates), cell.hidden.lanes.width
    width = sum(leaf.width or 1 for leaf in columns) + (keeps is not None)
    w_GHI = np.zeros((count, size, max(width, 1)))
    for at, gate in enumerate(cell.gates):
        for leaf, matrix in gate.inputs.items():
            w_GHI[at, :, columns[leaf] : columns[leaf] + matrix.shape[0]] = matrix.T
    if keeps is not None:
        w_GHI[0, :, -1] = keeps  # the update gate is the first
    r_GHH = np.stack([gate.recurrent.T for gate in cell.gates])
    bias = np.concatenate([gate.bias for gate in cell.gates])
    behind = np.zeros_like(bias) if cell.recurrent_bias is None else cell.recurrent_bias
    both = np.concatenate([bias, behind])
    return (
        terms.const(w_GHI.reshape(1, count * size, -1), np.float32),
        terms.const(r_GHH.reshape(1, count * size, size), np.float32),
        terms.const(both[None], np.float32) if both.any() else None,
    )


def peepholes_of(cell: Cell, terms: Terms) -> Term | None:
    """P of an LSTM, in the order i o f, which is that of the gates; the candidate has none."""
    peepholes = np.concatenate([gate.peephole for gate in cell.gates[:3]])
    return terms.const(peepholes[None], np.float32) if peepholes.any() else None


def attributes_of(cell: Cell) -> dict[str, object]:
    """All but the direction."""
    attributes: dict[str, object] = {"hidden_size": cell.hidden.lanes.width}
    names = tuple(function.name for function in cell.functions)
    if names != DEFAULT_ACTIVATIONS[cell.op]:
        attributes["activations"] = list(names)
        attributes |= _constants_of(cell.functions)
    if cell.op == "GRU" and cell.reset_after:
        attributes["linear_before_reset"] = 1
    return attributes


def _constants_of(functions: Sequence[Function]) -> dict[str, list[float]]:
    """Alphas and betas: each activation that has one takes the next of the list."""
    alphas = [function.alpha for function in functions if function.alpha is not None]
    betas = [function.beta for function in functions if function.beta is not None]
    return ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})
