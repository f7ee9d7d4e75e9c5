"""The model behind ``POST /predict``, and the three statements that have it watched.

    FLIGHTS_MODEL=demo-data/model FLIGHTS_STORE=sqlite:///demo-data/flights.db \
        uvicorn --app-dir examples/flights --factory app:from_environment
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from data import FEATURES
from fastapi import FastAPI
from pydantic import BaseModel
from train import MODEL, THRESHOLD, VERSION, load_model

import driftwell as dw

__all__ = ["create_app", "from_environment"]


class Flight(BaseModel):
    """A plane that has just left the gate."""

    flight_id: str
    timestamp: datetime
    carrier: str
    origin: str
    dest: str
    weekday: str
    dep_delay: float
    scheduled_departure: float
    scheduled_arrival: float
    distance: float


class Question(BaseModel):
    """One or more flights; answered in the same order."""

    instances: list[Flight]


class Answer(BaseModel):
    """For each flight whether it will be late (1) or not (0), and the probability that it will be."""

    predictions: list[int]
    probabilities: list[float]


def create_app(model_dir: Path, store_url: str) -> FastAPI:
    """The prediction service, monitored: what it predicts is recorded in ``store_url``.

    The labels come in through the monitor's own routes. They take no token here, so let this application
    listen on loopback only, or protect the routes: ``monitor.router(auth="token")``.
    """
    model = load_model(model_dir)
    reference = dw.Reference.load(model_dir / "reference_distribution.json")
    monitor = dw.Monitor(MODEL, version=VERSION, reference=reference, store=store_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        monitor.close()

    app = FastAPI(title="Will it be late?", lifespan=lifespan)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"model": MODEL, "version": VERSION}

    @app.post("/predict")
    def predict(question: Question) -> Answer:
        if not question.instances:
            return Answer(predictions=[], probabilities=[])
        rows = [[getattr(flight, name) for name in FEATURES] for flight in question.instances]
        probabilities = model.predict_proba(np.array(rows, dtype=object))[:, 1]
        called = (probabilities >= THRESHOLD).astype(int)
        return Answer(predictions=called.tolist(), probabilities=probabilities.tolist())

    app.add_middleware(
        dw.CaptureMiddleware,
        monitor=monitor,
        path="/predict",
        features=flight_features,
        prediction="predictions",
        score="probabilities",
        timestamp=column("timestamp"),
        prediction_id=column("flight_id"),
    )
    app.include_router(monitor.router(auth=None))
    return app


def from_environment() -> FastAPI:
    """``create_app`` with the folder of ``FLIGHTS_MODEL`` and the store of ``FLIGHTS_STORE``."""
    return create_app(Path(os.environ["FLIGHTS_MODEL"]), os.environ["FLIGHTS_STORE"])


def flight_features(request: Any, response: Any) -> list[dict[str, Any]]:
    """What the model saw of each flight: neither its id nor its time."""
    return [{name: flight[name] for name in FEATURES} for flight in request["instances"]]


def column(name: str) -> Any:
    """An extractor of one field of every flight of the request."""

    def extract(request: Any, response: Any) -> list[Any]:
        return [flight[name] for flight in request["instances"]]

    return extract
