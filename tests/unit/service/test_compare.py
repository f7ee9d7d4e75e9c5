"""check-drift: what may be sent, what may be read on the server, and what is refused with a reason."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell.config import Config
from driftwell.profiles import Reference

URL = "/api/v1/monitoring/check-drift"
RNG = np.random.default_rng(7)
TABLE = pa.table({"age": RNG.normal(40, 10, 400)})
MOVED = pa.table({"age": RNG.normal(80, 10, 400)})


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


BASELINE = ("baseline.json", Reference.from_data(TABLE).to_json())
CURRENT = ("current.parquet", parquet(MOVED))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "week").mkdir(parents=True)
    pq.write_table(MOVED, folder / "week" / "a.parquet")
    return folder


@pytest.fixture
def send(service, headers, root):
    client = service(Config(data_root=str(root)))

    def post(files=None, **rest):
        return client.post(URL, files=files or {"unused": (None, "")}, headers=headers, **rest)

    post.client = client
    return post


def test_tables_that_moved(send):
    answer = send({"baseline_file": BASELINE, "data_file": CURRENT})
    assert answer.status_code == 200
    assert answer.json()["drift_detected"] is True
    assert answer.json()["severity"] == "high"
    assert answer.json()["report"]["format"] == "driftwell-drift"


@pytest.mark.parametrize(
    "baseline",
    [("raw.parquet", parquet(TABLE)), ("raw.csv", b"age\n" + b"\n".join(b"%d" % i for i in range(200)))],
    ids=["parquet", "csv"],
)
def test_baseline_may_be_a_table(send, baseline):
    assert send({"baseline_file": baseline, "data_file": CURRENT}).json()["drift_detected"] is True


def test_baseline_may_be_raw_values(send):
    sink = io.BytesIO()
    np.save(sink, np.arange(300.0))
    current = ("x.csv", b"value\n" + b"\n".join(b"%d" % i for i in range(100, 400)))
    answer = send({"baseline_file": ("raw.npy", sink.getvalue()), "data_file": current})
    assert answer.json()["drift_detected"] is True


def test_folder_on_the_server_by_query_and_by_form(send):
    assert send({"baseline_file": BASELINE}, params={"data_dir": "week"}).json()["drift_detected"] is True
    assert send({"baseline_file": BASELINE}, data={"data_dir": "week"}).json()["drift_detected"] is True


def test_absolute_folder_below_the_root_is_allowed(send, root):
    assert send({"baseline_file": BASELINE}, params={"data_dir": str(root / "week")}).status_code == 200


@pytest.mark.parametrize("name", ["..", "../other", "/etc", "week/../..", "link"])
def test_nothing_outside_of_the_root_is_read(send, root, name):
    (root.parent / "other").mkdir()
    pq.write_table(MOVED, root.parent / "other" / "secret.parquet")
    (root / "link").symlink_to(root.parent / "other")
    answer = send({"baseline_file": BASELINE}, params={"data_dir": name})
    assert answer.status_code == 403
    assert "data_root" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["absent", "week/a.parquet", "we\0ek", "x" * 5000])
def test_what_is_no_folder_is_422(send, name):
    assert send({"baseline_file": BASELINE}, params={"data_dir": name}).status_code == 422


def test_folder_of_images_says_that_they_come_later(send, root):
    (root / "photos").mkdir()
    (root / "photos" / "a.jpg").write_bytes(b"\xff\xd8")
    answer = send({"baseline_file": BASELINE}, params={"data_dir": "photos"})
    assert answer.status_code == 422
    assert "images are not available in this version" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"data_file": CURRENT}, "baseline_file"),
        ({"baseline_file": BASELINE}, "data_file"),
        ({"baseline_file": BASELINE, "data_file": ("a.png", b"x")}, "images"),
        ({"baseline_file": BASELINE, "data_file": ("a.exe", b"x")}, ".parquet"),
        ({"baseline_file": BASELINE, "data_file": ("a", b"x")}, "nothing"),
        ({"baseline_file": BASELINE, "data_file": (None, "text")}, "must be a file"),
        ({"baseline_file": BASELINE, "data_file": ("a.parquet", b"x")}, "cannot read"),
        ({"baseline_file": ("b.json", b"{}"), "data_file": CURRENT}, "not a Driftwell reference"),
        ({"baseline_file": ("b.json", b'{"dataset_info": {}}'), "data_file": CURRENT}, "images"),
        ({"baseline_file": BASELINE, "data_file": CURRENT, "model": ("m.onnx", b"x")}, "images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_says_why(send, files, says):
    answer = send(files)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert "/tmp" not in answer.json()["detail"]


def test_file_and_folder_together_are_422(send):
    answer = send({"baseline_file": BASELINE, "data_file": CURRENT}, params={"data_dir": "week"})
    assert answer.status_code == 422
    assert "one of" in answer.json()["detail"]


def test_names_of_files_lead_nowhere(send, root):
    answer = send({"baseline_file": BASELINE, "data_file": ("../../../x.parquet", parquet(MOVED))})
    assert answer.status_code == 200
    assert sorted(path.name for path in root.parent.iterdir() if path.suffix == ".parquet") == []


def test_reference_of_a_model_stands_in(send, runtime):
    assert send({"data_file": CURRENT}, params={"model": "flights"}).status_code == 404
    runtime.recorder.offer("flights", "v1", {"age": 1.0}, 1)
    answer = send({"data_file": CURRENT}, params={"model": "flights"})
    assert answer.status_code == 404
    assert "no reference" in answer.json()["detail"]
    runtime.monitor("flights", "v1").set_reference(Reference.from_data(TABLE))
    assert send({"data_file": CURRENT}, params={"model": "flights"}).json()["drift_detected"] is True


def test_other_content_types_are_415(send, headers):
    answer = send.client.post(URL, content=b"{}", headers=headers | {"content-type": "application/json"})
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"garbage"])
def test_malformed_multipart_is_a_problem(send, headers, body):
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = send.client.post(URL, content=body, headers=headers | kind)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
