"""What the middleware costs: a FastAPI endpoint under uvicorn at full speed, without it and with it.

Two servers in processes of their own, one with the middleware and a real SQLite store, one without. This process is
the client: keep-alive connections on loopback, each with one request after the other. The servers are asked in turns,
so that both see the same state of a machine that others use too; of each pair of turns the ratio is taken, printed
is the median ratio and the middle half of the ratios. The server's processor time a request, of all its threads, is
the figure that other users of the machine disturb least. An empty endpoint, and one that computes for a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 8
ROUNDS = 15
SECONDS = 0.8
FEATURES = {f"feature_{i}": i * 1.5 for i in range(18)} | {"carrier": "UA", "origin": "JFK"}

SERVER = """
import sys, time
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
import driftwell as dw

work, captured, port, folder = float(sys.argv[1]), sys.argv[2] == "captured", int(sys.argv[3]), sys.argv[4]
app = FastAPI()

class Question(BaseModel):
    x: dict[str, float | str]

@app.post("/predict")
async def predict(question: Question) -> dict[str, float]:
    end = time.perf_counter() + work
    while work and time.perf_counter() < end:
        pass
    return {"y": 1.0, "p": 0.7}

if captured:
    monitor = dw.Monitor("bench", version="v1", store=f"sqlite:///{folder}/bench.db")
    app.add_middleware(dw.CaptureMiddleware, monitor=monitor, features="x", prediction="y", score="p")

    @app.get("/stats")
    def stats() -> dict:
        monitor.flush(30)
        return monitor.stats()

uvicorn.run(app, port=port, log_level="warning", access_log=False)
"""


@dataclass(frozen=True)
class Turn:
    """What one turn of the client saw."""

    requests: int
    seconds: float
    latencies: list[float]
    processor_seconds: float

    @property
    def cost(self) -> float:
        """Seconds of the server's processor time a request."""
        return self.processor_seconds / self.requests

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def p99(self) -> float:
        """99th percentile of the latency in seconds."""
        return statistics.quantiles(self.latencies, n=100)[98]


class Server:
    """One uvicorn process on a free port of loopback."""

    def __init__(self, work: float, kind: str, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
        command = [sys.executable, "-c", SERVER, str(work), kind, str(self.port), folder]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise SystemExit("the server did not start")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def processor_seconds(self) -> float:
        """Time its threads have computed so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(30)


def request_bytes(path: str = "/predict", body: bytes = json.dumps({"x": FEATURES}).encode()) -> bytes:
    """The request as it goes over the wire."""
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """One request and its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if b" 200 " not in head[:20]:
        raise SystemExit(f"the server answers {head[:100]!r} {body[:200]!r}")
    return body


async def client(server: Server, seconds: float) -> Turn:
    """Full speed over all connections."""
    request, latencies, clock = request_bytes(), [], time.perf_counter
    before = server.processor_seconds()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (start := clock()) < end:
            await ask(reader, writer, request)
            latencies.append(clock() - start)
        writer.close()
        await writer.wait_closed()

    begin = clock()
    end = begin + seconds
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return Turn(len(latencies), clock() - begin, latencies, server.processor_seconds() - before)


async def stats_of(port: int) -> dict[str, object]:
    """What the monitor of the server with the middleware counted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = json.loads(await ask(reader, writer, request_bytes("/stats", b"")))
    writer.close()
    await writer.wait_closed()
    return dict(found)


def middle(ratios: list[float]) -> str:
    """The median and the middle half."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{median:.2f} ({low:.2f}…{high:.2f})"


def compare(work: float) -> None:
    """Print the figures of one endpoint; stop with an error if a request was not recorded."""
    with tempfile.TemporaryDirectory() as folder:
        plain, captured = servers = Server(work, "plain", folder), Server(work, "captured", folder)
        try:
            asked = 0
            pairs: list[tuple[Turn, Turn]] = []
            for turn in range(ROUNDS + 1):
                order = (plain, captured) if turn % 2 else (captured, plain)
                seen = {server: asyncio.run(client(server, SECONDS)) for server in order}
                asked += seen[captured].requests
                if turn:  # the first warms up
                    pairs.append((seen[plain], seen[captured]))
            stats = asyncio.run(stats_of(captured.port))
        finally:
            for server in servers:
                server.stop()
    if stats["stored"] != asked:
        raise SystemExit(f"{asked} requests, but {stats}")
    rates = [with_it.rate / bare.rate for bare, with_it in pairs]
    costs = [with_it.cost / bare.cost for bare, with_it in pairs]
    p99s = [with_it.p99 / bare.p99 for bare, with_it in pairs]
    bare = statistics.median(turn.rate for turn, _ in pairs)
    what = f"an endpoint of {work * 1e3:g} ms" if work else "an empty endpoint"
    print(f"{what}: {middle(rates)} × the {bare:,.0f} requests a second without, {middle(p99s)} × the p99 latency,")
    print(f"    {middle(costs)} × the processor time a request")


def main() -> None:
    """Both endpoints."""
    for work in (0.0, 0.001):
        compare(work)


if __name__ == "__main__":
    main()
