"""The reference: what normal looked like, frozen. Its bins are the ones every later window is counted in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import BadInput, ColumnError, NotSupported
from driftwell.frame import Frame, read_table
from driftwell.profiles.categorical import Vocabulary
from driftwell.profiles.codec import identity
from driftwell.profiles.frozen import attach_bins, edges_id, kind_of
from driftwell.profiles.profile import Bins, Profile, Visit, build_profile, freeze
from driftwell.profiles.renaming import check_targets, rename
from driftwell.profiles.roles import (
    ROLES,
    absent_message,
    find_features,
    find_roles,
    importances,
    metrics,
    outputs_of,
    step_names,
)
from driftwell.profiles.sample import History, rows_kept
from driftwell.profiles.weaknesses import MAX_AGE, Weakness, find_weaknesses

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
            The table has no rows or no feature.

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
        bare = freeze_reference(found, given, feature_names=feature_names, kinds=kinds, keep_rows=True)
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

    @property
    def classes(self) -> list[str]:
        """Class names of a categorical or boolean prediction, as scikit-learn orders them: whole numbers by value,
        all else by name; empty where the prediction is a number."""
        bins = self.output_bins.get("prediction")
        names = list(bins.categories) if isinstance(bins, Vocabulary) else []
        return sorted(names, key=int) if all(_is_whole(name) for name in names) else sorted(names)

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
        return find_weaknesses(self, at, max_age)

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
        check_targets(feature_map, (*self.kinds, *self.roles, *self.roles.values()))
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
        named_so = ("(timestamp)", self.roles.get("timestamp"), "timestamp")
        event = next((table.column(present[name]) for name in named_so if name in present), None)
        read = pa.table(chosen | ({} if event is None else {"(timestamp)": event}))
        frame = Frame.of(read, kinds=kinds, names=list(chosen), event_time="(timestamp)")
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
            columns={name: attach_bins(state, self.bins[name]) for name, state in profile.columns.items()},
            outputs={role: attach_bins(state, self.output_bins[role]) for role, state in profile.outputs.items()},
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
        from driftwell.profiles.document import save

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
        from driftwell.profiles.document import load

        return load(path)


def freeze_reference(
    table: pa.Table,
    given_roles: Mapping[str, str | None],
    *,
    feature_names: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    visit: Visit | None = None,
    keep_rows: bool = False,
) -> Reference:
    """Freeze the bins of an Arrow table and count it in them; ``visit`` sees each column's sorted values.

    ``keep_rows`` draws the row sample too, which takes a hash of each cell.
    """
    if table.num_rows == 0:
        raise BadInput("a reference needs rows; this table has none")
    roles = find_roles(table.column_names, given_roles)
    features, ignored = find_features(table, roles, feature_names, kinds)
    bins, states = freeze(features, visit=visit)
    typed = outputs_of(table, roles, kinds)
    output_bins, outputs = freeze(typed)
    sample, history = rows_kept(table, roles, features, typed, kinds) if keep_rows else (None, None)
    return Reference(
        profile=Profile(states, outputs, table.num_rows, edges_id(bins, output_bins)),
        bins=bins,
        output_bins=output_bins,
        kinds={name: column.kind for name, column in features.columns.items()},
        roles=roles,
        ignored=ignored,
        created=datetime.now(UTC),
        sample=sample,
        history=history,
    )


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
