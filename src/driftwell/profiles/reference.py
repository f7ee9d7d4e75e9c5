"""The reference: what normal looked like, frozen. Its bins are the ones every later window is counted in."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import BadInput, ColumnError, FormatError, MissingReference, NotSupported
from driftwell.frame import Frame, read_table
from driftwell.profiles.categorical import CategoricalState, Vocabulary
from driftwell.profiles.codec import encode
from driftwell.profiles.numeric import NumericBins, NumericState
from driftwell.profiles.profile import Bins, Profile, State, Visit, bins_id, build_profile, freeze
from driftwell.profiles.roles import (
    ROLES,
    absent_message,
    find_features,
    find_roles,
    importances,
    metrics,
    outputs_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ROLES", "Reference", "edges_id", "freeze_reference", "rename"]


@dataclass(frozen=True, eq=False)
class Reference:
    """What normal looked like: frozen bins and counts of each feature, prediction and score, and the baseline.

    Build it with ``from_data``, keep it with ``save``, read it with ``load``. It never changes.

    Attributes
    ----------
    profile
        The reference rows counted in the reference's own bins.
    kinds
        ``numeric``, ``categorical`` or ``boolean`` of each feature.
    roles
        Which column of the reference table is the prediction, score, label …
    performance
        Baseline metrics, such as ``{"accuracy": 0.85}``; windows are compared with them.
    importance
        Weight of each feature, used to rank what drifted.
    ignored
        Columns that are no features, with the reason.
    """

    profile: Profile
    bins: dict[str, Bins]
    output_bins: dict[str, Bins]
    kinds: dict[str, str]
    roles: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    version: str | None = None
    preprocessing: tuple[str, ...] = ()
    performance: dict[str, float] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    created: datetime | None = None

    @staticmethod
    def from_data(
        table: Any,
        feature_names: Sequence[str] | None = None,
        kinds: Mapping[str, str] | None = None,
        prediction: str | None = None,
        score: str | None = None,
        label: str | None = None,
        timestamp: str | None = None,
        prediction_id: str | None = None,
        segment: str | None = None,
        weights: Any = None,
        name: str | None = None,
        version: str | None = None,
        preprocessing: Sequence[str] = (),
        performance: Mapping[str, float] | None = None,
        importance: Any = None,
    ) -> Reference:
        """Build a reference from training or validation data.

        Parameters
        ----------
        table
            Any table (see the README), a path or a glob.
        feature_names
            For an array the names of its columns; for a table the columns that are features. Default: every column
            that has no role.
        kinds
            ``{column: "numeric" | "categorical" | "boolean"}`` where the inferred kind is wrong.
        prediction, score, label, timestamp, prediction_id, segment
            Columns with these roles; ``prediction``, ``score``, ``true_label`` … have them by name.
        preprocessing
            Names of the steps applied before the reference was built, kept for the record.
        performance
            Baseline metrics of the model.
        importance
            ``{feature: weight}`` or a fitted model with ``feature_importances_`` or ``coef_``.

        Raises
        ------
        ColumnError
            A named column is not in the table.
        BadInput
            The table has no rows or no feature.

        Notes
        -----
        Cost: one sort a numeric column. Missing values, NaN and infinities have cells of their own. Columns of a
        type without a kind (times, lists) are listed in ``ignored``.

        Examples
        --------
        >>> ref = Reference.from_data({"age": [31.0, 44.0, 52.0], "city": ["Oslo", "Oslo", "Bergen"]})
        >>> ref.kinds, ref.profile.columns["age"].max
        ({'age': 'numeric', 'city': 'categorical'}, 52.0)
        """
        if weights is not None:
            raise NotSupported("weighted references are not available in this version: leave weights out")
        found = read_table(table, feature_names=feature_names)
        given = {
            "prediction": prediction,
            "score": score,
            "true_label": label,
            "timestamp": timestamp,
            "prediction_id": prediction_id,
            "segment": segment,
        }
        bare = freeze_reference(found, given, feature_names=feature_names, kinds=kinds)
        return replace(
            bare,
            name=name,
            version=version,
            preprocessing=tuple(preprocessing),
            performance=metrics("performance", performance),
            importance=importances(importance, list(bare.kinds), bare.ignored),
        )

    def __repr__(self) -> str:
        named = "".join(f" {word}" for word in (self.name, self.version) if word)
        return f"<Reference{named} {self.id}: {self.n_rows:,} rows, {len(self.kinds)} features>"

    # -- what it is ------------------------------------------------------------------------------------------

    @cached_property
    def id(self) -> str:
        """Content hash of kinds, bins and counts; not of name, version, time or the order of rows."""
        digest = hashlib.blake2b(encode(self.profile, edges=True), digest_size=8)
        digest.update(msgspec.json.encode(sorted(self.kinds.items())))
        return digest.hexdigest()

    @property
    def edges_id(self) -> str:
        """Content hash of the bins alone; profiles counted in them carry it."""
        return self.profile.edges_id

    @property
    def feature_names(self) -> list[str]:
        """The features in the order of the reference table."""
        return list(self.kinds)

    @property
    def output_kinds(self) -> dict[str, str]:
        """Kind of ``prediction`` and ``score``, those the reference has."""
        return {role: _kind_of(found) for role, found in self.output_bins.items()}

    @property
    def n_rows(self) -> int:
        """Rows the reference was built from."""
        return self.profile.n_rows

    @property
    def classes(self) -> list[str]:
        """Class names of a categorical or boolean prediction, as scikit-learn orders them: whole numbers by value,
        all else by name; empty where the prediction is a number."""
        bins = self.output_bins.get("prediction")
        names = list(bins.categories) if isinstance(bins, Vocabulary) else []
        return sorted(names, key=int) if all(_is_whole(name) for name in names) else sorted(names)

    # -- profiling against it --------------------------------------------------------------------------------

    def profile_of(
        self,
        table: Any,
        *,
        feature_map: Mapping[str, str] | None = None,
        columns: Sequence[str] | None = None,
        visit: Visit | None = None,
    ) -> Profile:
        """Count any table in this reference's bins; columns are matched by name, further ones ignored.

        ``feature_map`` maps names of the table to names of the reference. Arrays take the reference's names by
        position. ``columns`` are the features wanted, default all; ``visit`` sees each one's sorted values.

        Raises
        ------
        ColumnError
            A feature of the reference is missing; a similar name is suggested, never assumed.
        """
        found = rename(read_table(table, feature_names=self.feature_names), feature_map)
        wanted = self.feature_names if columns is None else columns
        present = dict.fromkeys(found.column_names)  # Arrow makes the list anew each time it is asked
        absent = [name for name in wanted if name not in present]
        if absent:
            message = absent_message(absent, [name for name in present if name not in self.kinds])
            raise ColumnError(f"{message}; to compare without it, name the others in columns=[…]")
        return self.profile_table(found, columns=columns, visit=visit)

    def profile_table(
        self,
        table: pa.Table,
        *,
        outputs: Mapping[str, str] | None = None,
        columns: Sequence[str] | None = None,
        visit: Visit | None = None,
    ) -> Profile:
        """Count the columns this Arrow table shares with the reference; absent ones count as unread.

        ``outputs`` maps ``prediction`` and ``score`` to columns of the table; default: the reference's own roles,
        else columns of these names.
        """
        import pyarrow as pa

        wanted = set(self.kinds if columns is None else columns)
        present = {name: i for i, name in enumerate(table.column_names)}
        chosen = {n: table.column(present[n]) for n in self.kinds if n in wanted and n in present}
        sources = self._output_sources(present) if outputs is None else outputs
        for role, source in sources.items():
            if role in self.output_bins and source in present:
                chosen[f"({role})"] = table.column(present[source])
        bins = self.bins | {f"({role})": found for role, found in self.output_bins.items()}
        kinds = self.kinds | {f"({role})": kind for role, kind in self.output_kinds.items()}
        named = [f"({role})" for role in self.output_bins]
        frame = Frame.of(pa.table(chosen), kinds=kinds) if chosen else Frame({}, table.num_rows)
        frame = replace(frame, n_rows=table.num_rows)
        made = build_profile(frame, bins, outputs=named, edges_id=self.edges_id, visit=visit)
        absent = {name: "the column is absent" for name in self.kinds if name in wanted and name not in chosen}
        return replace(
            made,
            outputs={name[1:-1]: state for name, state in made.outputs.items()},
            unread=made.unread | absent,
        )

    def _output_sources(self, present: Container[str]) -> dict[str, str]:
        own = {role: self.roles.get(role, role) for role in self.output_bins}
        return {role: source if source in present else role for role, source in own.items()}

    def attach(self, profile: Profile) -> Profile:
        """Give a profile that was stored without its bins the bins back."""
        if profile.edges_id != self.edges_id:
            return profile
        return replace(
            profile,
            columns={name: _attach(state, self.bins[name]) for name, state in profile.columns.items()},
            outputs={role: _attach(state, self.output_bins[role]) for role, state in profile.outputs.items()},
        )

    # -- keeping it ------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """The JSON document that ``save`` writes."""
        from driftwell.profiles.document import to_json

        return to_json(self)

    @staticmethod
    def from_json(data: bytes, *, source: str = "the reference") -> Reference:
        """Read ``to_json``.

        Raises
        ------
        FormatError
            The document is corrupt, altered, no reference at all, or was written by a newer version.
        """
        from driftwell.profiles.document import from_json

        return from_json(data, source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, atomically; folders are created.

        Raises
        ------
        BadInput
            The file cannot be written; nothing is left behind.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
                draft = Path(handle.name)
            try:
                draft.write_bytes(self.to_json())
                draft.chmod(0o644)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as exc:
            raise BadInput(f"cannot write {target}: {exc.strerror or exc}") from exc

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Reference:
        """Read a reference file, or build one from a ``.npy`` array of raw reference values.

        Raises
        ------
        MissingReference
            There is no such file; the message says what to run.
        FormatError
            The file is corrupt or newer than this version.
        """
        source = Path(path)
        if not os.path.exists(source):
            raise MissingReference(f"there is no reference at {source}: run 'driftwell baseline DATA -o {source}'")
        if source.suffix == ".npy":
            return Reference.from_data(source)
        try:
            data = source.read_bytes()
        except OSError as exc:
            raise BadInput(f"cannot read {source}: {exc.strerror or exc}") from exc
        return Reference.from_json(data, source=str(source))


def freeze_reference(
    table: pa.Table,
    given_roles: Mapping[str, str | None],
    *,
    feature_names: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    visit: Visit | None = None,
) -> Reference:
    """Freeze the bins of an Arrow table and count it in them; ``visit`` sees each column's sorted values."""
    if table.num_rows == 0:
        raise BadInput("a reference needs rows; this table has none")
    roles = find_roles(table.column_names, given_roles)
    features, ignored = find_features(table, roles, feature_names, kinds)
    bins, states = freeze(features, visit=visit)
    output_bins, outputs = freeze(outputs_of(table, roles, kinds))
    return Reference(
        profile=Profile(states, outputs, table.num_rows, edges_id(bins, output_bins)),
        bins=bins,
        output_bins=output_bins,
        kinds={name: column.kind for name, column in features.columns.items()},
        roles=roles,
        ignored=ignored,
        created=datetime.now(UTC),
    )


def rename(table: pa.Table, feature_map: Mapping[str, str] | None) -> pa.Table:
    """Rename columns of a table to the names the reference has."""
    if not feature_map:
        return table
    if not isinstance(feature_map, Mapping):
        raise BadInput(f"feature_map is a dict {{'new': 'old'}}. Got {feature_map!r}")
    present = set(table.column_names)
    unknown = [name for name in feature_map if name not in present]
    if unknown:
        raise ColumnError(f"feature_map names columns the table does not have: {', '.join(unknown)}")
    names = [feature_map.get(name, name) for name in table.column_names]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ColumnError(f"feature_map gives a second column the name {', '.join(twice)}")
    return table.rename_columns(names)


def edges_id(bins: Mapping[str, Bins], output_bins: Mapping[str, Bins]) -> str:
    """Content hash of all bins; outputs stand apart from features of the same name."""
    return bins_id({**bins, **{f"({role})": found for role, found in output_bins.items()}})


def _kind_of(bins: Bins) -> str:
    if isinstance(bins, NumericBins):
        return "numeric"
    return "boolean" if bins.categories == ("false", "true") else "categorical"


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _attach(state: State, bins: Bins) -> State:
    if isinstance(state, NumericState) and isinstance(bins, NumericBins) and len(state.counts) == bins.n_cells:
        return replace(state, bins=bins)
    if isinstance(state, CategoricalState) and isinstance(bins, Vocabulary):
        return replace(state, vocabulary=bins)
    raise FormatError("a stored profile does not fit the bins of its reference")
