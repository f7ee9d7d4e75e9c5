"""Numbers that many threads change and look at."""

from __future__ import annotations

import sys
import threading

import pytest

from driftwell.capture.counting import MOST_PLACES, Counting


@pytest.fixture
def impatient():
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("impatient")
def test_new_versions_may_come_while_all_are_counted():
    for _ in range(10):
        counting = Counting()
        for i in range(800):
            counting.tally("m", str(i))

        def arrive(counting=counting):
            for i in range(800, 1_000):
                counting.tally("m", str(i))
                counting.labels(str(i))

        thread = threading.Thread(target=arrive)
        thread.start()
        while thread.is_alive():
            counting.stats(None, None)
            counting.losses()
            counting.models()
        thread.join()
        assert counting.models() == {"m"}


def test_made_up_versions_are_told_apart_only_while_they_are_few():
    counting = Counting()
    first = counting.tally("m", "0")
    for i in range(2 * MOST_PLACES):
        counting.tally("m", str(i)).offered += 1
        counting.labels(str(i)).offered += 1
    assert counting.tally("m", "0") is first
    assert len(counting._tallies) == len(counting._labels) == MOST_PLACES + 1
    found = counting.stats(None, None)
    assert (found["offered"], found["labels"]["offered"]) == (2 * MOST_PLACES, 2 * MOST_PLACES)
    waiting = {("record", "m", "1999"): 1, ("record", "m", "1998"): 1, ("label", "1999"): 1}
    counting.give_up(waiting, "defect")
    found = counting.stats(None, None)
    assert (found["waiting"], found["rejected"]) == (2, {"defect": 2 * MOST_PLACES - 2})
    assert (found["labels"]["waiting"], found["labels"]["rejected"]) == (1, {"defect": 2 * MOST_PLACES - 1})
