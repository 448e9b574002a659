"""A subgraph for the node library: backend and panel of one model as one node."""

from __future__ import annotations

import uuid

from .graph import Graph

WATCHED_MODEL = "Backend and live panel (Wan)"
DESCRIPTION = "Attention Backend and Attention Diagnostics as one node: goes between a Wan model and its sampler, one for each expert."
ALIASES = ["wan attention", "attention backend", "sdpa", "flash", "sage", "cudnn"]


def blueprint() -> dict:
    inner = Graph(WATCHED_MODEL)
    backend = inner.add(
        "WanAttnBackend",
        (0, 0),
        (320, 360),
        "auto",
        "next best",
        "exact",
        0.03,
        "keep their kernels",
    )
    watch = inner.add("WanAttnDiagnostics", (380, 0), (560, 560), "sample", "", 4.0)
    inner.link(backend, "MODEL", watch, "model")
    kind = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{WATCHED_MODEL}/subgraph"))
    outer = Graph(f"{WATCHED_MODEL}/outer")
    node = outer.place(kind, "model:MODEL", "MODEL:MODEL", (0, 0), (320, 120), title=WATCHED_MODEL)
    node.data["properties"] = {"proxyWidgets": [[str(backend.id), "backend"]]}
    definition = subgraph(kind, inner, first=backend.id, last=watch.id)
    return {
        **outer.data(),
        "definitions": {"subgraphs": [definition]},
        "extra": {"BlueprintDescription": DESCRIPTION, "BlueprintSearchAliases": ALIASES},
    }


def subgraph(kind: str, inner: Graph, first: int, last: int) -> dict:
    """A graph with one MODEL coming in at its first node and one going out of its last."""
    data = inner.data()
    into, out = len(inner.links) + 1, len(inner.links) + 2
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    edges = [[into, -10, 0, first, 0, "MODEL"], [out, last, 0, -20, 0, "MODEL"]]
    for node in data["nodes"]:
        if node["id"] == first:
            node["inputs"][0]["link"] = into
        if node["id"] == last:
            node["outputs"][0]["links"] = [out]
    return {
        "id": kind,
        "version": 1,
        "state": {
            "lastGroupId": 0,
            "lastNodeId": data["last_node_id"],
            "lastLinkId": out,
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": WATCHED_MODEL,
        "inputNode": {"id": -10, "bounding": [-220, 0, 120, 60]},
        "outputNode": {"id": -20, "bounding": [1000, 0, 120, 60]},
        "inputs": [port(kind, "input", "model", into, (-120, 20))],
        "outputs": [port(kind, "output", "MODEL", out, (1020, 20))],
        "widgets": [],
        "nodes": data["nodes"],
        "groups": [],
        "links": [dict(zip(names, link, strict=True)) for link in [*inner.links, *edges]],
        "extra": {},
        "category": "Video Tools",
        "description": DESCRIPTION,
    }


def port(kind: str, side: str, name: str, link: int, at: tuple[int, int]) -> dict:
    number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{side}"))
    return {"id": number, "name": name, "type": "MODEL", "linkIds": [link], "pos": list(at)}
