"""The pages: fleet → model → feature, made on the server; a little script keeps them fresh."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import HTMLResponse

from driftwell.reports.html import asset, environment
from driftwell.service.views.feature import feature_view
from driftwell.service.views.fleet import fleet_view
from driftwell.service.views.links import Links
from driftwell.service.views.model import model_view
from driftwell.service.views.status import TRAFFIC_HOURS, newest_versions, traffic_points
from driftwell.stores.base import HOUR_US

__all__ = ["Place", "find_place", "pages_router", "static_file"]

CHECKS = 60
RECENT = 10
STATIC = {
    "style.css": "text/css; charset=utf-8",
    "report.js": "text/javascript; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Every static file, with its type; nothing else is served."""

OF_REPORTS = ("style.css", "report.js")

Place = tuple[str, str | None]
"""A model, and a feature where the page of one is meant."""

Version = Annotated[str | None, Query(max_length=200)]
CheckId = Annotated[str | None, Query(max_length=200)]
Fragment = Annotated[str | None, Header(alias="X-Driftwell-Fragment")]


def pages_router(runtime: Any, guard: Callable[[str], Callable[..., object]] | None) -> APIRouter:
    """The pages over a runtime, none of them in the OpenAPI document.

    Parameters
    ----------
    runtime
        ``Runtime``: its store, its ledger, its monitors.
    guard
        Gives the dependency that asks for the scope ``read``; None lets every request through. Static files need
        no token: they are the same for everyone and the login page uses them.
    """
    router = APIRouter(include_in_schema=False)
    reading = [Depends(guard("read"))] if guard is not None else []

    def fleet(request: Request, fragment: Fragment = None) -> Response:
        return _page("fleet.html", read_fleet(runtime, _links(request)), request, fragment)

    def place(
        request: Request, rest: str, version: Version = None, check: CheckId = None, fragment: Fragment = None
    ) -> Response:
        model, feature = find_place(_raw_path(request), rest, [name for name, *_ in runtime.models()])
        links = _links(request)
        if feature is None:
            found, page = read_model(runtime, model, version, links), "model.html"
        else:
            found, page = read_feature(runtime, model, version, feature, check, links), "feature.html"
        if found is None:
            view = _missing(runtime, model, version, feature, links)
            return _page("missing.html", view, request, fragment, status=404)
        return _page(page, found, request, fragment)

    router.add_api_route("/", fleet, methods=["GET"], dependencies=reading, response_model=None)
    router.add_api_route("/models/{rest:path}", place, methods=["GET"], dependencies=reading, response_model=None)
    router.add_api_route("/static/{name}", static_file, methods=["GET"], response_model=None)
    return router


# -- reading -------------------------------------------------------------------------------------------------


def read_fleet(runtime: Any, links: Links) -> dict[str, Any]:
    """The view of all models from the store and the ledger."""
    models = runtime.models()
    keys = [(name, version) for name, (version, _, _) in newest_versions(models).items()]
    return fleet_view(
        models,
        {key: runtime.ledger.checks(*key, limit=3) for key in keys},
        {key: traffic_points(runtime.store.hourly_outputs(*key, hours=TRAFFIC_HOURS)) for key in keys},
        runtime.ledger.get_alerts(),
        links,
        store=runtime.store.url,
    )


def read_model(runtime: Any, model: str, version: str | None, links: Links) -> dict[str, Any] | None:
    """The view of a model version, the newest where none is named; None when there is no such model or version."""
    models = runtime.models()
    found = _version_of(models, model, version)
    if found is None:
        return None
    store, ledger = runtime.store, runtime.ledger
    now_us = round(time.time() * 1e6)
    return model_view(
        model,
        found,
        models=models,
        has_reference=(model, found) in ledger.references(),
        checks=ledger.checks(model, found, limit=CHECKS),
        full=next(iter(ledger.checks(model, found, limit=1, full=True)), None),
        alerts=ledger.get_alerts(model),
        runs=ledger.runs(model),
        totals=store.totals(model, found),
        capture=runtime.monitor(model, found).stats(),
        losses=ledger.losses(model, found, 0, now_us),
        losses_today=ledger.losses(model, found, now_us - 24 * HOUR_US, now_us),
        recent=store.recent(model, found, RECENT),
        traffic=traffic_points(store.hourly_outputs(model, found, hours=TRAFFIC_HOURS)),
        links=links,
    )


def read_feature(
    runtime: Any, model: str, version: str | None, feature: str, check_id: str | None, links: Links
) -> dict[str, Any] | None:
    """The view of a feature in the newest check, or in the one named; None when there is none that knows it."""
    found = _version_of(runtime.models(), model, version)
    if found is None:
        return None
    checks = runtime.ledger.checks(model, found, limit=CHECKS)
    full = None
    if check_id is None:
        full = next(iter(runtime.ledger.checks(model, found, limit=1, full=True)), None)
    elif any(check.get("check_id") == check_id for check in checks):
        wide = runtime.ledger.checks(model, found, limit=CHECKS, full=True)
        full = next((check for check in wide if check.get("check_id") == check_id), None)
    return feature_view(model, found, feature, checks=checks, full=full, links=links)


def _version_of(models: Any, model: str, version: str | None) -> str | None:
    known = {v for name, v, _, _ in models if name == model}
    if version is not None:
        return version if version in known else None
    newest = newest_versions(models).get(model)
    return newest[0] if newest else None


def _missing(runtime: Any, model: str, version: str | None, feature: str | None, links: Links) -> dict[str, Any]:
    models = runtime.models()
    found = _version_of(models, model, version)
    if found is None:
        what = f"version {version} of the model {model}" if version else f"model named {model}"
        known = [(name, links.model(name)) for name in newest_versions(models)]
        return {"title": "Not found", "headline": f"There is no {what}", "known": known, "what": "Models"}
    newest: dict[str, Any] = next(iter(runtime.ledger.checks(model, found, limit=1)), {})
    columns = (newest.get("drift") or {}).get("columns") or {}
    known = [(name, links.feature(model, found, name)) for name in columns]
    headline = f"No check of {model} {found} knows a feature named {feature}"
    return {"title": "Not found", "headline": headline, "known": known, "what": "Features"}


# -- addresses -----------------------------------------------------------------------------------------------


def find_place(raw_path: str, rest: str, models: list[str]) -> Place:
    """Which model, and which feature, an address means.

    Our own links quote each name as one segment, so that slashes in names are no separators. Where a proxy has
    unquoted them (or someone typed the name), the longest known model name decides.

    Examples
    --------
    >>> find_place("/models/team%2Fa/features/x%2Fy", "team/a/features/x/y", [])
    ('team/a', 'x/y')
    >>> find_place("/models/team/a/features/x/y", "team/a/features/x/y", ["team", "team/a"])
    ('team/a', 'x/y')
    """
    parts = raw_path.partition("/models/")[2].split("/")
    if len(parts) == 1 or (len(parts) == 3 and parts[1] == "features"):
        names = [unquote(part) for part in parts[::2]]
        return names[0], names[1] if len(names) > 1 else None
    for model in sorted(models, key=len, reverse=True):
        if rest == model:
            return model, None
        if rest.startswith(f"{model}/features/"):
            return model, rest[len(model) + len("/features/") :]
    return rest, None


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("latin-1").partition("?")[0]


def _links(request: Request) -> Links:
    return Links(str(request.scope.get("root_path") or ""))


# -- answers -------------------------------------------------------------------------------------------------


def _page(
    template: str, view: dict[str, Any], request: Request, fragment: str | None, *, status: int = 200
) -> Response:
    """A whole page, or with the header ``X-Driftwell-Fragment`` only what changes in it."""
    layout = "_fragment.html" if fragment else "_page.html"
    links = _links(request)
    text = (
        environment("driftwell.service")
        .get_template(template)
        .render(
            view=view,
            layout=layout,
            links=links,
            static={name: links.static(name, _digest(name)) for name in STATIC},
        )
    )
    return HTMLResponse(text, status_code=status, headers={"Vary": "X-Driftwell-Fragment"})


def static_file(name: str, v: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """One of ``STATIC``; 404 for anything else. Asked for by its content's name it may be kept for a year."""
    if name not in STATIC:
        return Response(status_code=404)
    keep = "public, max-age=31536000, immutable" if v == _digest(name) else "no-cache"
    return Response(_static_text(name), media_type=STATIC[name], headers={"Cache-Control": keep})


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_static_text(name).encode()).hexdigest()[:16]


@cache
def _static_text(name: str) -> str:
    if name in OF_REPORTS:
        return asset(name)
    return files("driftwell.service").joinpath("static", name).read_text(encoding="utf-8")
