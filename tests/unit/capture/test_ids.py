"""Ids are UUIDv7 (RFC 9562, read back by the standard library), usable ids are bounded, sampling goes by hash."""

import time
import uuid

from driftwell.capture.ids import IdSource, id_from, is_kept, is_usable, new_id


def test_new_ids_are_version_7_and_carry_the_time():
    before = time.time_ns() // 1_000_000
    found = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert before <= found.int >> 80 <= after


def test_source_makes_version_7_of_a_given_moment():
    found = uuid.UUID(IdSource().make(1_645_557_742.0))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.hex[:12] == "017f22e279b0"  # the example of RFC 9562, appendix A.6


def test_ids_of_one_moment_differ():
    make = IdSource().make
    assert len({make(1.0) for _ in range(20_000)}) == 20_000


def test_reseeding_starts_another_sequence():
    source = IdSource()
    state = source._bits.__self__.getstate()
    source.reseed()
    assert source._bits.__self__.getstate() != state


def test_ids_sort_by_time():
    make = IdSource().make
    ids = [make(1_700_000_000 + i / 1000) for i in range(100)]
    assert ids == sorted(ids)


def test_given_ids_become_plain_text():
    class Shouting(str):
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    assert id_from(17) == "17"
    assert type(id_from(Shouting("a"))) is str


def test_bounds_of_usable_ids():
    assert is_usable("x" * 512)
    assert not any(map(is_usable, ["", "x" * 513, "a\x00", "a\r\nb", "\ud800"]))


def test_sampling_is_a_nested_share():
    ids = [f"id-{i}" for i in range(20_000)]
    tenth = {i for i in ids if is_kept(i, 0.1)}
    half = {i for i in ids if is_kept(i, 0.5)}
    assert tenth < half
    assert abs(len(half) / len(ids) - 0.5) < 0.02  # 5.7 standard deviations of a binomial
