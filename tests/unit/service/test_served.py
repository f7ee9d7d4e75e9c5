"""Which model a request means, and where a posted record belongs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from driftwell.config import Config, ModelConfig
from driftwell.errors import BadInput, StoreError, UnknownName
from driftwell.monitor import opening
from driftwell.monitor.opening import LateStore, Stores
from driftwell.monitor.runtime import DEFAULT_VERSION, Runtime
from driftwell.profiles import Reference
from driftwell.routes.problems import ProblemError
from driftwell.service.served import Served
from driftwell.stores.memory import MemoryStore


def served(rows, **models):
    """Over a runtime that knows these rows and names its monitors."""
    runtime = SimpleNamespace(
        models=lambda: rows,
        monitor=lambda name, version: (name, version),
        recorder=SimpleNamespace(flush=lambda timeout: True),
    )
    configured = {name: ModelConfig(name=name, **rest) for name, rest in models.items()}
    return Served(runtime, Config(models=configured))


ONE = [("flights", "v1", 10, 5)]
TWO = [("flights", "v2", 10, 9), ("flights", "v1", 99, 5), ("fraud", "1", 1, 7)]


def test_nothing_is_none():
    assert served([]).resolve(None, None) is None
    assert served([]).resolve("flights", None) is None


def test_one_model_needs_no_name():
    assert served(ONE).resolve(None, None) == ("flights", "v1")


def test_newest_version_is_meant():
    assert served(TWO).resolve("flights", None) == ("flights", "v2")
    assert served(TWO).resolve("flights", "v1") == ("flights", "v1")


def test_configured_version_wins():
    assert served(TWO, flights={"version": "v1"}).resolve("flights", None) == ("flights", "v1")


def test_configured_model_is_known_before_its_first_record():
    assert served([], flights={"version": "v3"}).resolve(None, None) == ("flights", "v3")
    assert served([], flights={}).resolve(None, None) == ("flights", DEFAULT_VERSION)


def test_several_models_are_named():
    with pytest.raises(ProblemError) as caught:
        served(TWO).resolve(None, None)
    assert caught.value.status == 422
    assert caught.value.members["models"] == ["flights", "fraud"]


@pytest.mark.parametrize(("model", "version", "says"), [("fligths", None, "flights"), ("flights", "v9", "v9")])
def test_unknown_name_says_what_there_is(model, version, says):
    with pytest.raises(UnknownName, match=says):
        served(TWO).resolve(model, version)


def test_a_record_of_a_new_model_makes_it():
    assert served(TWO).place("new", None) == ("new", DEFAULT_VERSION)
    assert served(TWO).place("new", "v7") == ("new", "v7")


def test_a_record_without_a_model_goes_to_the_only_one():
    assert served(ONE).place(None, None) == ("flights", "v1")
    assert served(ONE).place(None, "v2") == ("flights", "v2")


@pytest.mark.parametrize(("rows", "says"), [([], "none yet"), (TWO, "flights, fraud")], ids=["none", "two"])
def test_a_record_that_belongs_nowhere_says_so(rows, says):
    with pytest.raises(BadInput, match=says):
        served(rows).place(None, None)


def test_first_record_of_a_model_is_waited_for(runtime):
    models = Served(runtime, Config())
    runtime.recorder.offer("flights", "v1", {"a": 1.0}, 1)
    assert models.resolve("flights", None).name == "flights"
    assert models.place(None, None) == ("flights", "v1")
    runtime.recorder.offer("flights", "v2", {"a": 1.0}, 1)
    assert models.resolve("flights", "v2").version == "v2"


def reference() -> Reference:
    return Reference.from_data(pa.table({"a": np.arange(200.0)}))


def test_model_with_a_reference_is_known_before_its_first_record(runtime):
    models = Served(runtime, Config())
    models.set_reference("flights", "v1", reference())
    assert models.versions() == {"flights": ["v1"]}


def test_reference_files_of_the_configuration_are_taken(runtime, tmp_path, caplog):
    reference().save(tmp_path / "ref.json")
    models = {
        "good": ModelConfig(name="good", version="v1", reference=str(tmp_path / "ref.json")),
        "bad": ModelConfig(name="bad", version="v1", reference=str(tmp_path / "absent.json")),
    }
    Served(runtime, Config(models=models)).load_references()
    assert runtime.reference_for("good", "v1").id == reference().id
    assert runtime.reference_for("bad", "v1") is None
    assert "model bad goes on without a reference" in caplog.text
    assert "driftwell baseline" in caplog.text


def test_a_service_starts_while_its_server_is_away_and_keeps_its_references_until_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    reference = Reference.from_data(pa.table({"x": np.arange(200.0)}))
    reference.save(tmp_path / "r.json")
    there = []

    def opener():
        if not there:
            raise StoreError("away")
        return MemoryStore()

    late = LateStore("postgresql://h/d", opener)
    runtime = Runtime(late, late, stores=Stores(late, late, (late,)))
    own = {"known": ModelConfig(name="known", version="v1", reference=str(tmp_path / "r.json"))}
    unknown = {"versionless": ModelConfig(name="versionless", reference=str(tmp_path / "r.json"))}
    Served(runtime, Config(models=own | unknown)).load_references()
    assert runtime.reference_for("known", "v1").id == reference.id
    there.append(True)
    runtime.monitor("known", "v1").record_prediction({"x": 1.0})
    assert runtime.recorder.flush(10)
    runtime.reference_for("known", "v1")
    assert ("known", "v1") in late.references()
    runtime.close()


def test_what_is_posted_while_the_store_is_away_goes_where_it_belongs():
    """The ledger, which knows the tokens, may be another database; the record waits for the store."""
    own = served(TWO)
    assert own.place("flights", None) == ("flights", "v2")

    def away():
        raise StoreError("gone")

    own.runtime.models = away
    assert own.place("flights", None) == ("flights", "v2")
    assert own.place("new", "v9") == ("new", "v9")
    for unclear in ((None, None), (None, "v1"), ("new", None)):
        with pytest.raises(StoreError):
            own.place(*unclear)
