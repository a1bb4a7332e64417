"""Rebuilding terms: a change of single terms, carried through all that is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rnnexport.ir.terms import Term, Terms, below

Change = Callable[[Term], Term]


def rewritten(terms: Terms, roots: Iterable[Term], change: Change) -> dict[Term, Term]:
    """What every term below the roots becomes when each, its inputs already changed, is changed in turn."""
    done: dict[Term, Term] = {}
    for term in below(roots):
        inputs = [None if part is None else done[part] for part in term.inputs]
        done[term] = change(terms.rebuilt(term, inputs))
    return done


def substituted(terms: Terms, roots: Iterable[Term], known: Mapping[Term, Term]) -> dict[Term, Term]:
    """What every term below the roots becomes when some are replaced."""
    done: dict[Term, Term] = dict(known)
    for term in below(roots):
        if term not in done:
            inputs = [None if part is None else done[part] for part in term.inputs]
            done[term] = terms.rebuilt(term, inputs)
    return done


def uses(roots: Iterable[Term]) -> dict[Term, int]:
    """How often each term below the roots is used, as an input or as a root."""
    listed = list(roots)
    counts: dict[Term, int] = {}
    for root in listed:
        counts[root] = counts.get(root, 0) + 1
    for term in below(listed):
        for part in term.operands:
            counts[part] = counts.get(part, 0) + 1
    return counts
