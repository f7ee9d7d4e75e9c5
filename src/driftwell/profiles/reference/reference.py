"""The reference: what normal looked like, frozen. Its bins are the ones every later window is counted in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import ColumnError
from driftwell.frame import Frame, read_table
from driftwell.profiles.format.codec import identity
from driftwell.profiles.profile import Bins, Profile, State, Visit, build_profile
from driftwell.profiles.reference.frozen import attach_bins, kind_of
from driftwell.profiles.reference.outputs import output_columns, output_sources
from driftwell.profiles.reference.renaming import check_targets, rename
from driftwell.profiles.reference.roles import (
    absent_message,
    class_order,
    importances,
    metrics,
    step_names,
)
from driftwell.profiles.reference.sample import History
from driftwell.profiles.reference.weaknesses import MAX_AGE, Weakness, find_weaknesses
from driftwell.profiles.reference.weighted import profile_in_rows
from driftwell.profiles.states.categorical import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Reference"]


@dataclass(frozen=True, eq=False)
class Reference:
    """What normal looked like: frozen bins and counts of each feature, prediction and score, and the baseline.

    Build it with ``from_data``, keep it with ``save``, read it with ``load``. It never changes.

    Attributes
    ----------
    profile
        The reference rows counted in the reference's own bins.
    kinds
        Kind of each feature, one of ``driftwell.frame.KINDS``.
    roles
        Which column of the reference table is the prediction, score, label …
    performance
        Baseline metrics, such as ``{"accuracy": 0.85}``; windows are compared with them.
    importance
        Weight of each feature, used to rank what drifted.
    ignored
        Columns that are no features, with the reason.
    sample
        At most 5,000 of the rows (500,000 cells) as an Arrow table: features but free text, prediction, score and
        label under their own names, in one Arrow type a kind and the order of a hash. None in files of older versions.
    history
        What was seen of the rows' past when it was built; ``check`` reads it.
    parent
        ``id`` of the reference this one was updated from.
    seen
        Rows that an updated reference stands for: all that a reservoir was drawn from.
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
    sample: pa.Table | None = None
    history: History | None = None
    parent: str | None = None
    seen: int | None = None

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
        preprocessing: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] = (),
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
            ``{column: kind}`` where the inferred kind is wrong: ``numeric``, ``categorical``, ``boolean``,
            ``datetime``, ``text``, ``vector`` or ``series``.
        prediction, score, label, timestamp, prediction_id, segment
            Columns with these roles; ``prediction``, ``score``, ``true_label`` … have them by name.
        weights
            How much each row counts: the name of a column, which then is no feature, or an array. Only their ratios
            matter; multiples of 2**-20 are counted. In tests the rows stand for Kish's effective size. Numeric, boolean
            and categorical columns can be weighted, others are listed in ``ignored``.
        preprocessing
            The steps applied before the reference was built, kept for the record: names, or functions and
            transformers, of which the qualified names are kept.
        performance
            Baseline metrics of the model.
        importance
            ``{feature: weight}`` or a fitted model with ``feature_importances_`` or ``coef_``.

        Raises
        ------
        ColumnError
            A named column is not in the table.
        BadInput
            The table has no rows or no feature, or ``weights`` are none.

        Notes
        -----
        Cost: one sort a numeric column, and a hash of each cell for the row sample. Missing values, NaN and infinities
        have cells of their own. Columns of a type without a kind (structs, bytes) are listed in ``ignored``.

        Examples
        --------
        >>> ref = Reference.from_data({"age": [31.0, 44.0, 52.0], "city": ["Oslo", "Oslo", "Bergen"]})
        >>> ref.kinds, ref.profile.columns["age"].max
        ({'age': 'numeric', 'city': 'categorical'}, 52.0)
        """
        from driftwell.profiles.reference.freezing import freeze_reference

        found = read_table(table, feature_names=feature_names)
        given = {
            "prediction": prediction,
            "score": score,
            "true_label": label,
            "timestamp": timestamp,
            "prediction_id": prediction_id,
            "segment": segment,
        }
        bare = freeze_reference(found, given, feature_names=feature_names, kinds=kinds, weights=weights, keep_rows=True)
        return replace(
            bare,
            name=name,
            version=version,
            preprocessing=step_names(preprocessing),
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
        digest = hashlib.blake2b(identity(self.profile), digest_size=8)
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
        return {role: kind_of(found) for role, found in self.output_bins.items()}

    @property
    def n_rows(self) -> int:
        """Rows the reference was built from."""
        return self.profile.n_rows

    @cached_property
    def in_rows(self) -> Reference:
        """Of a weighted reference the same in effective rows, in whole counts; else this one. For tests of counts."""
        made = profile_in_rows(self.profile)
        if made is self.profile:
            return self
        history = self.history and replace(
            self.history, repeated=round(self.history.repeated * made.n_rows / self.n_rows)
        )
        return replace(self, profile=made, history=history)

    @property
    def effective_size(self) -> int:
        """Kish's effective sample size of a weighted reference, its number of rows without weights."""
        return self.in_rows.n_rows

    @property
    def classes(self) -> list[str]:
        """Class names of a categorical or boolean prediction, as scikit-learn orders them: whole numbers by value,
        all else by name; empty where the prediction is a number."""
        bins = self.output_bins.get("prediction")
        return class_order(bins.categories) if isinstance(bins, Vocabulary) else []

    def check(self, *, at: datetime | None = None, max_age: timedelta = MAX_AGE) -> tuple[Weakness, ...]:
        """What is weak about this reference, the gravest first; ``docs/reference.md`` lists the codes and their rules.

        Parameters
        ----------
        at
            The moment its age is taken at; default now.
        max_age
            Older than this, by its last event time or else by when it was built, it is called ``old``; 180 days.

        Notes
        -----
        Leakage of the label, halves that differ and numeric identifiers are read from the row sample; without one they
        are not looked for. Cost: a sort a column of the sample.

        Examples
        --------
        >>> ref = Reference.from_data({"age": [31.0, 44.0, 52.0], "country": ["NO", "NO", "NO"]})
        >>> [(w.code, w.column, str(w.severity)) for w in ref.check()]
        [('too_few_rows', None, 'high'), ('constant_column', 'country', 'medium')]
        """
        return find_weaknesses(self.in_rows, at, max_age)

    # -- profiling against it --------------------------------------------------------------------------------

    def profile_of(
        self,
        table: Any,
        *,
        feature_map: Mapping[str, str] | None = None,
        columns: Sequence[str] | None = None,
        visit: Visit | None = None,
        known: Mapping[str, State] | None = None,
    ) -> Profile:
        """Count any table in this reference's bins; columns are matched by name, further ones ignored.

        ``feature_map`` maps names of the table to names of the reference. Arrays take the reference's names by
        position. ``columns`` are the features wanted, default all; ``visit`` sees each one's sorted values, and those
        ``known`` already are not counted again.

        Raises
        ------
        ColumnError
            A feature of the reference is missing; a similar name is suggested, never assumed.
        """
        found = rename(read_table(table, feature_names=self.feature_names), feature_map)
        check_targets(feature_map, (*self.kinds, *self.roles, *self.roles.values()))
        wanted = self.feature_names if columns is None else columns
        present = dict.fromkeys(found.column_names)  # Arrow makes the list anew each time it is asked
        absent = [name for name in wanted if name not in present]
        if absent:
            message = absent_message(absent, [name for name in present if name not in self.kinds])
            raise ColumnError(f"{message}; to compare without it, name the others in columns=[…]")
        return self.profile_table(found, columns=columns, visit=visit, known=known)

    def profile_table(
        self,
        table: pa.Table,
        *,
        outputs: Mapping[str, str] | None = None,
        columns: Sequence[str] | None = None,
        visit: Visit | None = None,
        known: Mapping[str, State] | None = None,
    ) -> Profile:
        """Count the columns this Arrow table shares with the reference; absent ones count as unread.

        ``outputs`` maps ``prediction``, ``score`` and ``probability`` to columns of the table; default: the
        reference's own roles, else columns of these names. Confidence follows from them.
        """
        import pyarrow as pa

        bins = self.bins | {f"({role})": found for role, found in self.output_bins.items()}
        kinds = self.kinds | {f"({role})": kind for role, kind in self.output_kinds.items()}
        wanted = set(self.kinds if columns is None else columns)
        present = {name: i for i, name in enumerate(table.column_names)}
        chosen = {n: table.column(present[n]) for n in self.kinds if n in wanted and n in present}
        sources = output_sources(self.roles, present) if outputs is None else outputs
        sources = {role: source for role, source in sources.items() if source in present}
        chosen |= {f"({role})": column for role, column in output_columns(table, self, sources).items()}
        named = [f"({role})" for role in self.output_bins]
        named_so = ("(timestamp)", self.roles.get("timestamp"), "timestamp")
        event = next((table.column(present[name]) for name in named_so if name in present), None)
        read = pa.table(chosen | ({} if event is None else {"(timestamp)": event}))
        frame = Frame.of(read, kinds=kinds, names=list(chosen), event_time="(timestamp)")
        frame = replace(frame, n_rows=table.num_rows)
        made = build_profile(frame, bins, outputs=named, edges_id=self.edges_id, visit=visit, known=known)
        absent = {name: "the column is absent" for name in self.kinds if name in wanted and name not in chosen}
        return replace(
            made,
            outputs={name[1:-1]: state for name, state in made.outputs.items()},
            unread=made.unread | absent,
        )

    def attach(self, profile: Profile) -> Profile:
        """Give a profile that was stored without its bins the bins back."""
        if profile.edges_id != self.edges_id:
            return profile
        return replace(
            profile,
            columns={name: attach_bins(state, self.bins[name]) for name, state in profile.columns.items()},
            outputs={role: attach_bins(state, self.output_bins[role]) for role, state in profile.outputs.items()},
        )

    # -- keeping it ------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """The JSON document that ``save`` writes."""
        from driftwell.profiles.reference.document import to_json

        return to_json(self)

    @staticmethod
    def from_json(data: bytes, *, source: str = "the reference") -> Reference:
        """Read ``to_json``.

        Raises
        ------
        FormatError
            The document is corrupt, altered, no reference at all, or was written by a newer version.
        """
        from driftwell.profiles.reference.document import from_json

        return from_json(data, source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, atomically; folders are created.

        Raises
        ------
        BadInput
            The file cannot be written; nothing is left behind.
        """
        from driftwell.profiles.reference.document import save

        save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Reference:
        """Read a reference file, or build one from a ``.npy`` array of raw reference values.

        Raises
        ------
        MissingReference
            There is no such file; the message says what to run.
        FormatError
            The file is corrupt or newer than this version.
        BadInput
            It is no path, or cannot be read.
        """
        from driftwell.profiles.reference.document import load

        return load(path)
