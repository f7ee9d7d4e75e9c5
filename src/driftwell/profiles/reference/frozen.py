"""What belongs to the bins that a reference froze: their id, the kinds they count, and the states counted in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftwell.errors import FormatError
from driftwell.profiles.profile import Bins, State, bins_id
from driftwell.profiles.states.categorical import CategoricalState, Vocabulary
from driftwell.profiles.states.composite import CompositeBins, CompositeState, attach
from driftwell.profiles.states.numeric import NumericBins, NumericState

__all__ = ["attach_bins", "edges_id", "kind_of"]


def edges_id(bins: Mapping[str, Bins], output_bins: Mapping[str, Bins]) -> str:
    """Content hash of all bins; outputs stand apart from features of the same name."""
    return bins_id({**bins, **{f"({role})": found for role, found in output_bins.items()}})


def kind_of(bins: Bins) -> str:
    """The kind of the columns counted in these bins."""
    if isinstance(bins, NumericBins):
        return "numeric"
    if isinstance(bins, CompositeBins):
        return bins.kind
    return "boolean" if bins.categories == ("false", "true") else "categorical"


def attach_bins(state: State, bins: Bins) -> State:
    """Give a state that was stored without its bins the bins back."""
    if isinstance(state, NumericState) and isinstance(bins, NumericBins) and len(state.counts) == bins.n_cells:
        return replace(state, bins=bins)
    if isinstance(state, CategoricalState) and isinstance(bins, Vocabulary):
        return replace(state, vocabulary=bins)
    if isinstance(state, CompositeState) and isinstance(bins, CompositeBins) and state.bins_id == bins.id:
        return attach(state, bins)
    raise FormatError("a stored profile does not fit the bins of its reference")
