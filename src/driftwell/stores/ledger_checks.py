"""The laws every ``Ledger`` obeys; ``checks.laws()`` includes them."""

from __future__ import annotations

from dataclasses import replace

from driftwell.stores.base import HOUR_US, AppendResult, Ledger, Loss, Notice, PredictionStore
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, make_batch, same

__all__: list[str] = []


def law_put_reference_makes_it_current(store: PredictionStore, ledger: Ledger) -> None:
    same(ledger.get_reference("m", "v1"), None, "no reference at first")
    store.append(make_batch("b1", ["a"]), count_leaves)
    ledger.put_reference("m", "v1", "r1", b"one")
    ledger.put_reference("m", "v2", "r2", b"two")
    same(ledger.get_reference("m", "v1"), ("r1", b"one"), "each version has its own")
    mark = ledger.get_mark("m")
    same(mark > 0, True, "a new reference sets the mark")
    store.append(make_batch("b2", ["b"]), count_leaves)
    ledger.put_reference("m", "v1", "r1", b"one, renamed")
    same(ledger.get_reference("m", "v1"), ("r1", b"one, renamed"), "the document may change")
    same(ledger.get_mark("m"), mark, "the same reference again sets no mark")
    ledger.put_reference("m", "v1", "r3", b"three")
    ledger.put_reference("m", "v1", "r1", b"one")
    same(ledger.get_reference("m", "v1"), ("r1", b"one"), "an older one can come back")
    same(ledger.get_mark("m") > mark, True, "which is a change")


def law_mark_is_the_newest_arrival(store: PredictionStore, ledger: Ledger) -> None:
    same(ledger.get_mark("m"), 0, "no mark at first")
    store.append(make_batch("b1", ["a"]), count_leaves)
    first = ledger.set_mark("m")
    same((ledger.get_mark("m"), ledger.get_mark("other")), (first, 0), "a mark is of one model")
    store.append(make_batch("b2", ["b"]), count_leaves)
    same(ledger.set_mark("m") > first, True, "a later mark is larger")
    same(store.recent("m", None, 9, after_arrival=ledger.get_mark("m")), [], "nothing came after it")


def law_leaves_are_found_by_hour(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", ["a", "b", "c"], step_us=HOUR_US, segment=["eu", "eu", "us"]), count_leaves)
    found = ledger.leaves("m", "v1", NOON, NOON + 2 * HOUR_US)
    same([(f.hour_us, f.segment, f.n) for f in found], [(NOON, "eu", 1), (NOON + HOUR_US, "eu", 1)], "by hour")
    same([f.state for f in found], [b"1", b"1"], "with their states")
    same(ledger.leaves("m", "v9", *ALWAYS), [], "none of another version")
    same(len(ledger.leaves("m", None, *ALWAYS)), 3, "of all versions")
    same(ledger.leaves("m", None, *ALWAYS, after_arrival=ledger.set_mark("m")), [], "none after the mark")


def law_seal_keeps_what_was_counted(store: PredictionStore, ledger: Ledger) -> None:
    batches = [make_batch(f"b{i}", [str(i), f"{i}x"], segment=["eu", None], score=float(i)) for i in range(4)]
    for batch in batches:
        store.append(batch, count_leaves)
    before = (store.totals("m", None), store.hourly_outputs("m", None))
    same(ledger.seal(NOON, more_than=3), 0, "hours from the given one on are left alone")
    same(ledger.seal(NOON + HOUR_US, more_than=4), 0, "so are hours with few leaves")
    same(ledger.seal(NOON + HOUR_US, more_than=3), 1, "a crowded hour is sealed")
    sealed = ledger.leaves("m", "v1", *ALWAYS)
    same(
        sorted((str(f.segment), f.n, f.state) for f in sealed),
        [("None", 4, b"4"), ("eu", 4, b"4")],
        "one a kind",
    )
    same((store.totals("m", None), store.hourly_outputs("m", None)), before, "totals are what they were")
    same(store.append(batches[2], count_leaves), AppendResult(0, duplicate=2), "a repeated batch is known")
    store.append(make_batch("late", ["late"], segment="eu"), count_leaves)
    same(ledger.seal(NOON + HOUR_US, more_than=1), 1, "late leaves are merged again")
    same(sum(f.n for f in ledger.leaves("m", "v1", *ALWAYS)), 9, "and nothing is lost")


def law_seal_never_crosses_the_mark(store: PredictionStore, ledger: Ledger) -> None:
    for i in range(4):
        store.append(make_batch(f"old{i}", [f"old{i}"], score=1.0), count_leaves)
    mark = ledger.set_mark("m")
    for i in range(3):
        store.append(make_batch(f"new{i}", [f"new{i}"], score=2.0), count_leaves)
    same(ledger.seal(NOON + HOUR_US, more_than=2), 1, "the hour is sealed")
    same([f.n for f in ledger.leaves("m", None, *ALWAYS)], [4, 3], "a leaf on each side of the mark")
    same([f.n for f in ledger.leaves("m", None, *ALWAYS, after_arrival=mark)], [3], "that can be told apart")
    after = store.totals("m", None, after_arrival=mark)
    same((after["predictions"], after["output"]["mean"]), (3, 2.0), "as can totals")


def law_replace_leaves_counts_all_anew(store: PredictionStore, ledger: Ledger) -> None:
    for i in range(5):
        store.append(make_batch(f"b{i}", [str(i), f"{i}x"], step_us=HOUR_US), count_leaves)
        if i == 2:
            mark = ledger.set_mark("m")
    store.append(make_batch("b9", ["9"]), edges_of("new"))
    ledger.seal(NOON + 9 * HOUR_US, more_than=2)
    same(ledger.replace_leaves("m", "v1", "new", edges_of("new")), 5, "batches in other bins are counted anew")
    leaves = ledger.leaves("m", "v1", *ALWAYS)
    same(
        (sum(f.n for f in leaves), {f.edges_id for f in leaves}),
        (11, {"new"}),
        "nothing lost, all in new bins",
    )
    same(
        sum(f.n for f in ledger.leaves("m", "v1", *ALWAYS, after_arrival=mark)),
        5,
        "the mark still divides them",
    )
    same(len(store.batches("m", "v1", edges_id_not="new")), 0, "no batch is left in other bins")
    same(ledger.replace_leaves("m", "v1", "new", edges_of("new")), 0, "doing it again changes nothing")
    same(ledger.replace_leaves("nobody", "v1", "new", edges_of("new")), 0, "nor does an unknown model")


def law_checks_are_newest_first(store: PredictionStore, ledger: Ledger) -> None:
    column = {"value": 0.3, "distribution": {"edges": [0, 1]}}
    drift = {"columns": {"x": column}, "outputs": {}, "status": "ok"}
    for i, version in enumerate(("v1", "v2", "v1")):
        window = {"start": f"2026-01-0{i + 1}T00:00:00Z", "end": f"2026-01-0{i + 2}T00:00:00Z"}
        check = {"check_id": f"c{i}", "model": "m", "version": version, "window": window, "drift": drift}
        ledger.put_check(check)
    same([c["check_id"] for c in ledger.checks("m")], ["c2", "c1", "c0"], "newest first")
    same([c["check_id"] for c in ledger.checks("m", "v1", limit=1)], ["c2"], "of a version, limited")
    since = (NOON // (24 * HOUR_US) + 2) * 24 * HOUR_US  # 2026-01-03T00:00Z
    same([c["check_id"] for c in ledger.checks("m", since_us=since)], ["c2", "c1"], "since a window end")
    same(ledger.checks("m", full=True)[0], check, "a full check comes back as it was")
    brief = ledger.checks("m")[0]["drift"]
    same(brief["columns"], {"x": {"value": 0.3}}, "a brief one leaves out distributions")
    ledger.put_check(check | {"status": "redone"})
    same([c.get("status") for c in ledger.checks("m")], ["redone", None, None], "the same id replaces")
    same(ledger.checks("other"), [], "none of another model")


def law_alert_is_replaced_by_its_key(store: PredictionStore, ledger: Ledger) -> None:
    base = {
        "model": "m",
        "version": "v1",
        "rule": "r",
        "severity": "warning",
        "state": "pending",
        "since_us": 1,
    }
    ledger.put_alert(base | {"key": "a", "changed_us": 1})
    ledger.put_alert(base | {"key": "b", "changed_us": 2, "model": "n"})
    ledger.put_alert(base | {"key": "a", "changed_us": 3, "state": "firing"})
    same(
        [(a["key"], a["state"]) for a in ledger.get_alerts()],
        [("a", "firing"), ("b", "pending")],
        "newest first",
    )
    same([a["key"] for a in ledger.get_alerts("n")], ["b"], "of one model")


def law_metrics_are_kept_by_time(store: PredictionStore, ledger: Ledger) -> None:
    ledger.put_metric("m", "revenue", 2.0, 20, {"region": "eu"})
    ledger.put_metric("m", "revenue", 1.0, 10, {})
    ledger.put_metric("m", "revenue", 3.0, 30, {})
    expected = [
        {"name": "revenue", "value": 1.0, "time_us": 10, "labels": {}},
        {"name": "revenue", "value": 2.0, "time_us": 20, "labels": {"region": "eu"}},
    ]
    same(ledger.metrics("m", 10, 30), expected, "oldest first, the end left out")


def law_notice_is_claimed_by_one(store: PredictionStore, ledger: Ledger) -> None:
    first = Notice("k1", "log", "alert", {"text": "a"}, created_us=10)
    second = Notice("k2", "log", "resolved", {"text": "b"}, created_us=20)
    same(ledger.enqueue([first, second]), 2, "both are added")
    same(ledger.enqueue([first]), 0, "the same key only once")
    same(ledger.due(15), [first], "what is due is claimed")
    same(ledger.due(30, lease_us=100), [second], "a claimed notice is left to its claimer")
    same(ledger.due(60), [], "as long as the lease runs")
    same(ledger.due(60_000_015, limit=1), [second], "and is due again afterwards, the longest due first")


def law_settled_notice_is_final(store: PredictionStore, ledger: Ledger) -> None:
    notices = [Notice(key, "log", "alert", {}, created_us=1) for key in ("sent", "retry", "dead")]
    ledger.enqueue(notices)
    ledger.due(1)
    ledger.settle("sent", state="sent", now_us=2)
    ledger.settle("retry", state="retry", now_us=2, retry_at_us=50, error="timeout")
    ledger.settle("dead", state="dead", now_us=2, error="gone")
    same(ledger.due(49), [], "nothing is due before its time")
    same([(n.key, n.attempts) for n in ledger.due(50)], [("retry", 1)], "a retry is, with its attempts")
    ledger.settle("sent", state="retry", now_us=60)
    same([n.key for n in ledger.due(1 << 60)], ["retry"], "what was sent stays sent")
    listed = {n["key"]: (n["state"], n["attempts"], n["error"]) for n in ledger.notices()}
    expected = {"sent": ("sent", 1, None), "retry": ("retry", 1, "timeout"), "dead": ("dead", 1, "gone")}
    same(listed, expected, "all can be listed")
    same([n["key"] for n in ledger.notices(state="dead")], ["dead"], "by state")


def law_one_run_of_a_model_at_a_time(store: PredictionStore, ledger: Ledger) -> None:
    run = {"id": "1", "model": "m", "state": "requested", "targets": ["callback:train"], "at_us": 1}
    same(ledger.start_run(run), None, "the first may start")
    same(ledger.start_run(run | {"id": "2"}), "1", "another has to wait for it")
    ledger.put_run(run | {"state": "running"})
    same(ledger.start_run(run | {"id": "2"}), "1", "also while it runs")
    same(ledger.start_run(run | {"id": "3", "model": "n"}), None, "another model does not")
    same([r["id"] for r in ledger.runs("m")], ["1"], "one that has to wait is not kept")
    ledger.put_run(run | {"state": "failed"})
    same(ledger.start_run(run | {"id": "2", "at_us": 2}), None, "after its end the next may start")
    ledger.put_run(run | {"id": "2", "at_us": 2, "state": "completed"})
    ledger.put_run(run | {"id": "4", "at_us": 3, "targets": []})
    same(ledger.start_run(run | {"id": "5", "at_us": 4}), None, "one without a target stays and holds up none")


def law_run_is_replaced_by_its_id(store: PredictionStore, ledger: Ledger) -> None:
    run = {
        "id": "1",
        "model": "m",
        "version": "v1",
        "state": "running",
        "reason": "drift",
        "details": {},
        "at_us": 1,
    }
    for change in ({}, {"id": "2", "at_us": 2}, {"state": "done"}):
        ledger.put_run(run | change)
    same([(r["id"], r["state"]) for r in ledger.runs("m")], [("2", "running"), ("1", "done")], "newest first")
    same(len(ledger.runs("m", limit=1)), 1, "limited")


def law_token_is_found_by_its_digest(store: PredictionStore, ledger: Ledger) -> None:
    ledger.put_token("t1", b"digest", ["read", "write"], None, 5)
    expected = {
        "id": "t1",
        "scopes": ["read", "write"],
        "expires_us": None,
        "created_us": 5,
        "revoked": False,
    }
    same(ledger.find_token(b"digest"), expected, "by its digest")
    same(ledger.find_token(b"other"), None, "and by no other")
    same(
        (ledger.revoke_token("t1"), ledger.revoke_token("t2")),
        (True, False),
        "only a known one can be revoked",
    )
    same(ledger.tokens(), [expected | {"revoked": True}], "a revoked one is still listed")


def law_info_is_for_the_doctor(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", ["a"]), count_leaves)
    ledger.audit("me", "cleared", {"model": "m"}, NOON)
    same(
        {"schema_version", "driver_version", "bytes", "integrity"} <= set(ledger.info()),
        True,
        "what doctor needs",
    )


def law_leaves_of_other_stores_are_kept_once(store: PredictionStore, ledger: Ledger) -> None:
    leaves = count_leaves(make_batch("b1", ["a", "b"], step_us=HOUR_US))
    same(ledger.counted_batches("m", "v1"), {}, "nothing is counted at first")
    same(ledger.put_leaves("m", "v1", "b1", 11, NOON, leaves), True, "the leaves of a batch are kept")
    same(ledger.put_leaves("m", "v1", "b1", 12, NOON, leaves), False, "once")
    same(sum(f.n for f in ledger.leaves("m", "v1", *ALWAYS)), 2, "and counted once")
    same(ledger.put_leaves("m", "v1", "b2", 13, NOON, []), True, "a batch may have none")
    same(ledger.put_leaves("m", "v2", "b3", 14, NOON, leaves[:0]), True, "other versions are their own")
    same(ledger.counted_batches("m", "v1"), {"b1": (11, "counts"), "b2": (13, None)}, "all of them are known")
    same(ledger.counted_batches("m", "v1", after_arrival=11), {"b2": (13, None)}, "or those after a number")
    same(ledger.leaves("m", None, *ALWAYS, after_arrival=11), [], "leaves have the number of their batch")
    same(ledger.set_mark("m"), 14, "the mark is the newest of these numbers")


def law_leaves_of_other_stores_are_sealed_and_swapped(store: PredictionStore, ledger: Ledger) -> None:
    for i in range(4):
        ledger.put_leaves("m", "v1", f"b{i}", i + 1, NOON, count_leaves(make_batch(f"b{i}", [str(i)])))
    same(ledger.seal(NOON + HOUR_US, more_than=2), 1, "a crowded hour is sealed")
    late = count_leaves(make_batch("late", ["late", "later"], start_us=NOON + HOUR_US))
    ledger.put_leaves("m", "v1", "late", 5, NOON, late)
    new = edges_of("new")(make_batch("all", list("0123")))
    some = [(new[0], 1, 4)]
    before = ledger.leaves("m", "v1", *ALWAYS)
    same(ledger.swap_leaves("m", "v1", "new", ["b0", "b1", "b2"], some), False, "a leaf also covers b3")
    same(ledger.leaves("m", "v1", *ALWAYS), before, "so nothing is changed")
    same(ledger.swap_leaves("m", "v1", "new", ["b0", "b1", "b2", "b3"], some), True, "with it they are swapped")
    found = [(f.edges_id, f.n) for f in ledger.leaves("m", "v1", *ALWAYS)]
    same(found, [("new", 4), ("counts", 2)], "and other batches are left alone")
    edges = {batch_id: edges_id for batch_id, (_, edges_id) in ledger.counted_batches("m", "v1").items()}
    same(edges, dict.fromkeys(("b0", "b1", "b2", "b3"), "new") | {"late": "counts"}, "which is known of each")


def law_leaf_that_covers_pruned_rows_stays(store: PredictionStore, ledger: Ledger) -> None:
    for i in range(4):
        batch = make_batch(f"b{i}", [str(i), f"{i}x"])
        store.append(replace(batch, arrived_us=NOON + i), count_leaves)
    same(ledger.seal(NOON + HOUR_US, more_than=3), 1, "the hour is one leaf")
    for i, hour in ((5, 0), (6, 2)):
        batch = make_batch(f"b{i}", [str(i)], start_us=NOON + hour * HOUR_US)
        store.append(replace(batch, arrived_us=NOON + i), count_leaves)
    store.prune(rows_before_us=NOON + 2)
    ledger.replace_leaves("m", "v1", "new", edges_of("new"))
    found = sorted((f.edges_id, f.n) for f in ledger.leaves("m", "v1", *ALWAYS))
    same(found, [("counts", 8), ("new", 1), ("new", 1)], "it stays, and the batches that have their rows are anew")
    same(ledger.replace_leaves("m", "v1", "new", edges_of("new")), 0, "doing it again changes nothing")
    ledger.replace_leaves("m", "v1", "newer", edges_of("newer"))
    found = sorted((f.edges_id, f.n) for f in ledger.leaves("m", "v1", *ALWAYS))
    same(found, [("counts", 8), ("newer", 1), ("newer", 1)], "nothing is lost or counted twice later either")


def law_losses_are_the_newest_told(store: PredictionStore, ledger: Ledger) -> None:
    same(ledger.losses("m", None, *ALWAYS), {}, "none at first")
    first = Loss("m", "v1", NOON, "dropped.queue_full", "host:1", 3)
    others = [
        Loss("m", "v1", NOON, "dropped.queue_full", "host:2", 4),
        Loss("m", "v2", NOON, "redacted.failed", "host:1", 1),
        Loss("m", "v1", NOON + HOUR_US, "dropped.queue_full", "host:1", 100),
        Loss("n", "v1", NOON, "dropped.queue_full", "host:1", 1_000),
    ]
    ledger.put_losses([first, *others])
    ledger.put_losses([first, replace(first, n=5)])
    ledger.put_losses([])
    found = ledger.losses("m", None, NOON, NOON + HOUR_US)
    same(found, {"dropped.queue_full": 9, "redacted.failed": 1}, "the newest count of each process, of the hour")
    same(ledger.losses("m", "v2", *ALWAYS), {"redacted.failed": 1}, "of a version")
    same(ledger.losses("m", "v1", *ALWAYS), {"dropped.queue_full": 109}, "over hours")


def law_pruned_history_keeps_what_must_stay(store: PredictionStore, ledger: Ledger) -> None:
    later = NOON + 48 * HOUR_US
    for i, start in enumerate((NOON, later)):
        store.append(make_batch(f"b{i}", [str(i)], start_us=start), count_leaves)
        ledger.put_losses([Loss("m", "v1", start, "dropped", "p", 1)])
        ledger.put_metric("m", "revenue", 1.0, start, {})
        ledger.enqueue([Notice(f"k{i}", "log", "alert", {}, start), Notice(f"open{i}", "log", "alert", {}, start)])
        ledger.settle(f"k{i}", state="sent", now_us=start)
        window = {"start": "2026-01-01T00:00:00Z", "end": f"2026-01-0{1 + 2 * i}T12:00:00Z"}
        ledger.put_check({"check_id": f"c{i}", "model": "m", "version": "v1", "window": window})
    ledger.put_reference("m", "v1", "r", b"document")
    ledger.put_run({"id": "1", "model": "m", "state": "completed", "targets": [], "at_us": 1})
    ledger.put_token("t", b"digest", [], None, 1)
    ledger.audit("me", "did", {}, 1)
    same(ledger.prune_history(NOON + HOUR_US), 5, "a leaf, a loss, a check, a point, a settled notice")
    same(ledger.prune_history(NOON + HOUR_US), 0, "once")
    same([f.hour_us for f in ledger.leaves("m", None, *ALWAYS)], [later], "leaves")
    same(ledger.losses("m", None, *ALWAYS), {"dropped": 1}, "losses")
    same([c["check_id"] for c in ledger.checks("m")], ["c1"], "checks")
    same([p["time_us"] for p in ledger.metrics("m", *ALWAYS)], [later], "own metrics")
    same(sorted(n["key"] for n in ledger.notices()), ["k1", "open0", "open1"], "notices that are not settled stay")
    kept = (ledger.get_reference("m", "v1"), len(ledger.runs("m")), len(ledger.tokens()), len(ledger.audit_lines()))
    same(kept, (("r", b"document"), 1, 1, 1), "and so do references, runs, tokens and the audit log")
    same(store.count("m", None, *ALWAYS), 2, "and the predictions")
