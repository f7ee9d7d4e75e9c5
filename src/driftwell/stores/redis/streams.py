"""Streams: the model versions that have rows, each with a small number that stands in the keys."""

from __future__ import annotations

from driftwell.stores.redis.server import Server

__all__ = ["all_streams", "find_streams", "stream_name"]


def stream_name(model: str, version: str) -> bytes:
    """Model and version as one field: the length of the model's name in bytes, a colon, and both names."""
    name = model.encode()
    return b"%d:%b%b" % (len(name), name, version.encode())


def all_streams(server: Server) -> dict[str, tuple[str, str]]:
    """``{number: (model, version)}`` by name."""
    found = {number.decode(): _names(joined) for joined, number in server.ask("hgetall", server.key("streams")).items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def find_streams(server: Server, model: str, version: str | None) -> dict[str, str]:
    """``{number: version}`` of the model's versions, or of the one asked for; empty when there are none."""
    if version is not None:
        number = server.ask("hget", server.key("streams"), stream_name(model, version))
        return {} if number is None else {number.decode(): version}
    return {number: of for number, (name, of) in all_streams(server).items() if name == model}


def _names(joined: bytes) -> tuple[str, str]:
    length, _, rest = joined.partition(b":")
    return rest[: int(length)].decode(), rest[int(length) :].decode()
