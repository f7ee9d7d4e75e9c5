"""Calling a user's function: whatever it does becomes a value."""

import asyncio

import pytest

from driftwell.outbox import Returned, call, name_of


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_what_it_returns_is_the_value():
    assert call(lambda a, b: a + b, 1, 2) == Returned(3)


def test_a_coroutine_is_run_to_its_end():
    async def answer(x):
        await asyncio.sleep(0)
        return x

    assert call(answer, 7) == Returned(7)


@pytest.mark.parametrize("exc", [ValueError("bad\nnews"), SystemExit(3), KeyError(), HostileError()])
def test_what_it_raises_is_one_line(exc, caplog):
    def fail():
        raise exc

    error = call(fail).error
    assert type(exc).__name__ in error
    assert "\n" not in error
    assert caplog.records[0].exc_info[1] is exc
    assert "test_what_it_raises_is_one_line" in caplog.records[0].getMessage()


def test_a_coroutine_that_raises_is_an_error():
    async def fail():
        raise ValueError("late")

    assert call(fail).error == "ValueError: late"


def test_an_interrupt_is_not_swallowed():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(interrupt)


def test_objects_have_names_too():
    class Model:
        def __call__(self):
            return None

    assert name_of(Model()).endswith("Model")
    assert name_of(len) == "builtins.len"
