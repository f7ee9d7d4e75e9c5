"""``driftwell serve`` and ``driftwell token create``."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from driftwell.cli.options import AsJson, Store
from driftwell.cli.output import emit
from driftwell.errors import ConfigError, MissingDependency

__all__ = ["create_token", "serve"]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8765; 0 takes a free one).")] = None,
    store: Store = None,
    config: Annotated[str | None, typer.Option("--config", help="Settings file (default driftwell.toml).")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no token; loopback addresses only.")] = False,
    as_json: AsJson = False,
) -> int:
    """Serve the HTTP API, the web page and the metrics, and check every model on schedule."""
    try:
        import uvicorn

        from driftwell.service.app import create_app
        from driftwell.service.auth import check_bind, new_start_token
    except ModuleNotFoundError as exc:
        raise _missing(exc) from exc
    from driftwell.config import load_config
    from driftwell.monitor.runtime import Runtime

    given: dict[str, Any] = {"host": host, "port": port}
    settings = dataclasses.replace(
        load_config(config, os.environ, store=store), **{name: v for name, v in given.items() if v is not None}
    )
    check_bind(settings.host, not no_auth)
    listening = _listen(settings.host, settings.port)
    runtime = Runtime.configured(settings, patient=True)
    start = None if no_auth else new_start_token()
    application = create_app(runtime, settings, auth=not no_auth, start_token=start)
    _announce(listening, settings, runtime.store.url, start, as_json)
    runtime.start()
    signal.signal(signal.SIGTERM, _stop)
    try:
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
        server.run(sockets=[listening])
    finally:
        listening.close()
        runtime.close()
    return 0


def create_token(
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="ingest, read, write, admin; by commas or repeated (default all)."),
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="How long it is valid, such as P90D.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Make a token; it is shown once and only its digest is kept."""
    try:
        from driftwell.routes.tokens import ALL_SCOPES, make_token
    except ModuleNotFoundError as exc:
        raise _missing(exc) from exc
    from driftwell.cli.opening import command_stores
    from driftwell.config import parse_duration

    scopes = [word for item in scope or [] for word in item.split(",") if word] or list(ALL_SCOPES)
    stores = command_stores(store)
    try:
        valid = parse_duration(expires) if expires else None
        token, token_id = make_token(stores.ledger, scopes, valid, datetime.now(UTC))
    finally:
        stores.close()
    emit(
        {"token": token, "id": token_id},
        as_json,
        f"{token}\n(id {token_id}, scopes {', '.join(scopes)}; shown only now)",
    )
    return 0


def _missing(exc: ModuleNotFoundError) -> Exception:
    """What is not installed, in words; a fault of our own stays what it is."""
    name = (exc.name or "").partition(".")[0]
    return exc if name == "driftwell" else MissingDependency(name or "fastapi", "service")


def _stop(number: int, frame: object) -> None:
    """uvicorn ends its own work and raises the signal again: then what is open here is closed, not torn off."""
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything is opened, so that a port in use is one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as exc:  # the latter for a port beyond 65535
        listening.close()
        why = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"cannot listen on {host}:{port}: {why}; choose another --host or --port") from exc
    return listening


def _announce(listening: socket.socket, settings: Any, store: str, start: str | None, as_json: bool) -> None:
    """The link that logs a browser in, as soon as connections are accepted."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    link = f"{base}/login?token={start}" if start else f"{base}/"
    for notice in settings.notices:
        sys.stderr.write(f"driftwell: {notice}\n")
    text = f"Driftwell is listening on {base} (store {store})\nOpen {link}"
    emit({"url": base, "login": link, "store": store}, as_json, text)
    sys.stdout.flush()
