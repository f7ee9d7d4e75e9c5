"""Background runs: again and again, one at a time, whatever the job does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from driftwell.errors import StoreError
from driftwell.monitor.scheduler import Scheduler

SOON = timedelta(milliseconds=5)


class Job:
    """Counts its runs, sets an event after some, and raises what it is told to."""

    def __init__(self, enough: int, *raises: BaseException) -> None:
        self.runs, self.enough, self.raises = 0, enough, list(raises)
        self.done = threading.Event()

    def __call__(self) -> None:
        self.runs += 1
        if self.runs >= self.enough:
            self.done.set()
        if self.raises:
            raise self.raises.pop(0)


def test_the_job_runs_again_and_again_until_stopped():
    job = Job(3)
    scheduler = Scheduler(job, SOON, name="test")
    scheduler.start()
    assert job.done.wait(20)
    scheduler.stop()
    assert not [t for t in threading.enumerate() if t.name == "test"]


def test_no_failure_ends_the_schedule(caplog):
    job = Job(4, StoreError("the disk went away"), ZeroDivisionError("a user's rule"), SystemExit(3))
    scheduler = Scheduler(job, SOON, name="test")
    scheduler.start()
    assert job.done.wait(20)
    scheduler.stop()
    assert "scheduled check failed: the disk went away" in caplog.text
    assert "a user's rule" in caplog.text


def test_the_first_run_comes_after_one_interval():
    job = Job(1)
    scheduler = Scheduler(job, timedelta(hours=1), name="test")
    assert scheduler.next_run is None
    before = datetime.now(UTC)
    scheduler.start()
    assert before + timedelta(hours=1) <= scheduler.next_run <= datetime.now(UTC) + timedelta(hours=1)
    scheduler.stop()
    assert (job.runs, scheduler.next_run) == (0, None)


def test_a_job_may_stop_its_own_schedule():
    stopped = threading.Event()

    def job() -> None:
        scheduler.stop()
        stopped.set()

    scheduler = Scheduler(job, SOON, name="test")
    scheduler.start()
    assert stopped.wait(20)


def test_stop_before_start_does_nothing():
    Scheduler(Job(1), SOON, name="test").stop()
