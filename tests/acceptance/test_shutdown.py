"""A FastAPI app under plain uvicorn, ended by SIGTERM: every prediction it answered is in the store."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from driftwell.stores import open_store

APP = """
from fastapi import FastAPI
import driftwell as dw

monitor = dw.Monitor("m", version="v1", store="sqlite:///{folder}/s.db", flush_seconds=60)
app = FastAPI()
app.add_middleware(dw.CaptureMiddleware, monitor=monitor, path="/predict", features="x", prediction="y")


@app.post("/predict")
def predict(body: dict) -> dict:
    return {{"y": 1}}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_loses_no_prediction(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "app.py").write_text(APP.format(folder=tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(words, cwd=tmp_path)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            for attempt in range(200):
                try:
                    client.get("/openapi.json")
                    break
                except httpx2.TransportError:
                    assert attempt < 199, "the app did not start"
                    time.sleep(0.1)
            for i in range(50):
                assert client.post("/predict", json={"x": {"a": float(i)}}).json() == {"y": 1}
        server.send_signal(number)
        server.wait(20)
    finally:
        server.kill()
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    assert store.totals("m", "v1")["predictions"] == 50
    store.close()
