"""What export jobs convert: a model at one boundary, or its stream, described and run once for all that share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import ConversionError
from rnnexport.core.progress import Progress
from rnnexport.core.signature import BATCH, Extent, Signature, dynamic_length
from rnnexport.reference.describe import Described, describe_unverified, describe_with_truth
from rnnexport.reference.sizes import require_same_at_sizes
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.targets.base import SIGNATURE, Target

if TYPE_CHECKING:
    from rnnexport.artifact.layer_map import LayerValue
    from rnnexport.ir.from_onnx import Converted, NotConverted
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

CONVERTER = "tf2onnx"  # among the writers of a target
_SEQUENCE_GOLDENS = 3  # of the signature for whole sequences: what is behind it is the same model


@dataclass(frozen=True, eq=False)
class Reference:
    """A model as it is converted.

    Attributes:
        source: the model, or its stream.
        known: its boundary, its goldens, its truth.
        layers: what its layers give for the golden that layer maps are made of.
        sequence: of a stream, the boundary of the model on whole sequences; None for what is no stream.
        whole: the model, and what it gives for whole sequences, where a format asks for a stream and has a signature
            for these.
    """

    source: SourceModel
    known: Described
    layers: tuple[LayerValue, ...]
    sequence: Signature | None
    whole: tuple[SourceModel, Described] | None

    def require_converted(self, kind: Target) -> None:
        """Refuse a format that a faulty converter would write.

        Raises:
            ConversionError: names the operator that it takes for another.
        """
        faults = [known.fault for known in (self.known, *(self.whole or ())[1:]) if known.fault]
        if faults and CONVERTER in kind.writers:
            what = "model" if faults[0].startswith(f"{self.source.name}, ") else "operator"
            raise ConversionError(
                f"{CONVERTER} does not compute what {self.source.name} computes: {faults[0]}",
                "the outputs of its TensorFlow graph to float64 rounding",
                f"report this {what}; TFLite and SavedModel are made without that converter",
            )

    def converted(self, traced: TracedModel) -> Converted | NotConverted | None:
        """A graph of `traced` in ONNX, where it is the one that was converted already: a cast model is another one."""
        return self.known.converted if traced is self.known.traced else None

    def traced(self, *, unroll: bool) -> TracedModel:
        """What is called, as a graph."""
        return _traced(self.source, self.known, unroll=unroll)

    def traced_sequence(self, kind: Target, *, unroll: bool) -> TracedModel | None:
        """The model on whole sequences, as a graph; None where it is no stream, or the format has no form for it.

        That is a format without signatures, and one that is unrolled, which wants lengths fixed, where they are open.
        """
        if self.whole is None or not kind.entries:
            return None
        source, known = self.whole
        if unroll and open_lengths(known.signature):
            return None
        return _traced(source, known, unroll=unroll and known.traced is None)

    def goldens(self, sequence: TracedModel | None) -> tuple[Golden, ...]:
        """Those of what is called, and behind them some of whole sequences, where the artifact takes these."""
        if sequence is None or self.whole is None:
            return self.known.goldens
        whole = [golden for golden in self.whole[1].goldens if not golden.carries][:_SEQUENCE_GOLDENS]
        return (*self.known.goldens, *(replace(golden, entry=SIGNATURE) for golden in whole))


def references(
    source: SourceModel,
    wanted: Sequence[tuple[Extent, Target]],
    layer_map_golden: int | None,
    progress: Progress,
) -> dict[Extent, Reference]:
    """The references of these extents, each made once for all formats that ask for it.

    Args:
        source: the model.
        wanted: what each artifact is called with.
        layer_map_golden: the golden that layer maps are made of; None if nothing will be verified: no truth is needed.
        progress: is told what goes on.

    Raises:
        UsageError: a boundary asks for what the model does not allow.
        ConversionError: the model can't be run on enough feeds, or can't be streamed, or decides by an open size.
    """
    from rnnexport.source.casting import cast_source
    from rnnexport.source.describe import describe
    from rnnexport.source.eager import layer_values

    stream = cache(lambda sizes: streamed(source, sizes.batch, progress, sizes.ranges))
    cast = cache(lambda dtype: cast_source(source, dtype))
    known_of = describe_with_truth if layer_map_golden is not None else describe_unverified
    described = cache(lambda boundary, dtype: known_of(cast(dtype), boundary))
    found = {}
    for one in dict.fromkeys(extent for extent, _ in wanted):
        model = (
            cast(one.cast) if one.stream is None else cast_source(stream(replace(one.whole, timesteps=None)), one.cast)
        )
        progress(f"running {source.name} in Keras")
        whole_known = partial(described, one.whole, one.cast)
        known = whole_known() if one.stream is None else known_of(model, one.called)
        require_same_at_sizes(model, known)
        layers: tuple[LayerValue, ...] = ()
        if layer_map_golden is not None:
            layers = layer_values(model, known.signature, known.goldens[layer_map_golden].feed)
        if one.stream is None:
            found[one] = Reference(model, known, layers, None, None)
        elif any(extent == one and kind.entries for extent, kind in wanted):
            whole = whole_known()
            found[one] = Reference(model, known, layers, whole.signature, (cast(one.cast), whole))
        else:
            found[one] = Reference(model, known, layers, describe(cast(one.cast), one.whole), None)
    return found


def open_lengths(signature: Signature) -> list[str]:
    """The dimensions that are open, but for the batch."""
    return [dim for dim in signature.dynamic_dims if dim != BATCH]


def require_fixed(name: str, signature: Signature) -> None:
    """Refuse an open length for a format that is unrolled.

    Raises:
        UsageError: names the dimension.
    """
    if dims := open_lengths(signature):
        raise dynamic_length(name, dims)


def _traced(source: SourceModel, known: Described, *, unroll: bool) -> TracedModel:
    from rnnexport.source.floats import in_float32

    traced = _as_it_is(source, known, unroll=unroll)
    return in_float32(traced) if source.cast else traced


def _as_it_is(source: SourceModel, known: Described, *, unroll: bool) -> TracedModel:
    from rnnexport.source.probe import with_sizes
    from rnnexport.source.trace import trace

    if not unroll and known.traced is not None:
        return known.traced
    try:
        return trace(source, known.signature, unroll=unroll)
    except ConversionError as error:
        told = with_sizes(error, source, known.signature, unroll=unroll)
        if told is error:
            raise
        raise told from error
