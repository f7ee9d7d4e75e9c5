"""The same random history, told to Redis and to SQLite: every answer is the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.servers.redis import RedisServer, available

from driftwell.stores.base import HOUR_US, Label, PredictionStore
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.redis import RedisStore
from driftwell.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(not available(), reason="needs redis-server and redis-py")
IDS = [f"id{i}" for i in range(40)]
MODELS = ("m", "n")
VERSIONS = ("v1", "v2", "v3")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def one_step(pick: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    what = pick.choices(("append", "label", "delete", "prune"), (10, 6, 1, 1))[0]
    if what == "append":
        ids = pick.choices(IDS, k=pick.randint(1, 12))
        times = [NOON + pick.randrange(-6, 6) * HOUR_US // 2 + pick.randrange(4) for _ in ids]
        features = [{"x": pick.random(), f"c{pick.randrange(2)}": pick.choice(["a", None])} for _ in ids]
        scores = [pick.choice([None, round(pick.random(), 3), float("inf")]) for _ in ids]
        columns = {"prediction": [pick.choice(["1", '"a"', "2.5", None]) for _ in ids], "score": scores}
        columns["entity_id"] = [pick.choice(["p", "q", None]) for _ in ids]
        batch = make_batch(
            f"b{pick.randrange(number + 1)}",
            ids,
            model=pick.choice(MODELS),
            version=pick.choice(VERSIONS),
            timestamp=times,
            features=features,
            content=pick.choice([0, 0, 0, 1]),
            **columns,
        )
        return what, {"batch": replace(batch, arrived_us=NOON + number)}
    if what == "label":
        names = [pick.choice([*MODELS, None]) for _ in range(pick.randint(1, 6))]
        return what, {"labels": [Label(pick.choice(IDS), pick.choice(["0", "1"]), NOON + number, m) for m in names]}
    if what == "delete":
        model = pick.choice([*MODELS, None])
        return what, pick.choice(
            [{"prediction_ids": pick.choices(IDS, k=3), "model": model}, {"entity_ids": ["p"], "model": model}]
        )
    return what, {"rows_before_us": NOON + number // 2}


def tell(store: PredictionStore, what: str, given: dict[str, Any]) -> object:
    if what == "append":
        return store.append(given["batch"], count_leaves)
    if what == "label":
        return store.add_labels(given["labels"])
    return getattr(store, what)(**given)


def state_of(store: PredictionStore, pick: random.Random) -> dict[str, object]:
    state: dict[str, object] = {}
    for model in MODELS:
        for version in (None, *VERSIONS):
            window = sorted(NOON + pick.randrange(-4 * HOUR_US, 4 * HOUR_US) for _ in range(2))
            bounds, limit = pick.choice([ALWAYS, tuple(window)]), pick.choice([None, 1, 5, 20])
            key = f"{model} {version} {bounds} {limit}"
            labelled = pick.choice([None, True, False])
            read = store.read(model, version, *bounds, labelled=labelled, limit=limit)
            state[f"read {key}"] = read.select(sorted(read.column_names)).to_pylist()
            state[f"outcomes {key}"] = store.outcomes(model, version, *bounds, limit=limit).to_pylist()
            state[f"recent {key}"] = store.recent(model, version, limit or 7)
            state[f"labels {key}"] = store.totals(model, version)["labels"]
            if version is not None:
                batches = store.batches(model, version)
                state[f"batches {key}"] = [
                    (b.batch_id, b.arrived_us, b.content_hash.tolist(), b.rows.to_pylist()) for b in batches if len(b)
                ]
    return state


def counts_of(store: PredictionStore) -> dict[str, object]:
    counts: dict[str, object] = {"models": store.models()}
    for model in MODELS:
        totals = store.totals(model, None)
        totals["output"] = {k: v and round(v, 9) for k, v in totals["output"].items()}
        hourly = store.hourly_outputs(model, None, hours=5)
        newest = [store.newest(model, None, NOON + k * HOUR_US, 3) for k in range(-3, 4)]
        spans = [store.count(model, None, NOON - k * 999_999_999, NOON + k * 777_777_777) for k in range(9)]
        counts[model] = (totals, {h: (n, m and round(m, 9)) for h, (n, m) in hourly.items()}, newest, spans)
    return counts


@pytest.mark.parametrize("seed", range(2))
def test_both_stores_answer_alike(seed: int, server: RedisServer, tmp_path: Path) -> None:
    server.cli("FLUSHALL")
    pick = random.Random(seed)
    stores = (RedisStore(server.url), SQLiteStore(tmp_path / "s.db"))
    removed = False
    for number in range(60):
        what, given = one_step(pick, number)
        removed = removed or what == "delete"
        redis, sqlite = (tell(store, what, given) for store in stores)
        assert redis == sqlite, (number, what, given)
        if number % 6 == 5:
            redis, sqlite = (state_of(store, random.Random(number)) for store in stores)
            for question, answer in sqlite.items():
                assert redis[question] == answer, (number, question)
            if not removed:  # after it, counts may or may not have what was deleted
                assert counts_of(stores[0]) == counts_of(stores[1]), number
    for store in stores:
        store.close()
