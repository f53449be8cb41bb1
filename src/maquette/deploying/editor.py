"""A workflow in the format of ComfyUI's editor, as its Workflows sidebar opens and saves it.

Made from the API format: nodes get a place on the canvas, links a number, and values stand in the order of the node's inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.deploying.nodes import NODES, Workflow, kind_of

VERSION = 0.4
_COLUMN_PX, _ROW_PX, _WIDTH_PX = 340, 190, 300
_HEIGHT_PX = {"KSampler": 262, "CLIPTextEncode": 160}
_AFTER: Mapping[tuple[str, str], str] = {("KSampler", "seed"): "fixed", ("LoadImage", "image"): "image"}
"""Values of the editor alone, behind those of some inputs: the seed stays after drawing, so that the workflow draws the same
again; the button that takes another picture."""


def editor_workflow(workflow: Workflow) -> dict[str, Any]:
    """Return the editor's form of an API-format workflow of the nodes in NODES."""
    links = _links(workflow)
    columns = _columns(workflow)
    return {
        "last_node_id": max(int(node_id) for node_id in workflow),
        "last_link_id": len(links),
        "nodes": [
            _node(node_id, order, workflow, links, _place(node_id, columns))
            for order, node_id in enumerate(sorted(workflow, key=lambda node_id: columns[node_id]))
        ],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": VERSION,
    }


def _links(workflow: Workflow) -> list[list[Any]]:
    """Return [number, source node, its output, target node, its input, type] of every link."""
    links: list[list[Any]] = []
    for node_id, node in workflow.items():
        for slot, name in enumerate(_sockets(node)):
            source, output = node["inputs"][name]
            kind = NODES[workflow[source]["class_type"]]["output"][output]
            links.append([len(links) + 1, int(source), output, int(node_id), slot, kind])
    return links


def _declared(node: Any) -> dict[str, Any]:
    declared: dict[str, Any] = NODES[node["class_type"]]["input"]["required"]
    return declared


def _sockets(node: Any) -> list[str]:
    """Return the inputs of a node that are linked, in the order in which the editor numbers them."""
    return [name for name in _declared(node) if isinstance(node["inputs"][name], list)]


def _columns(workflow: Workflow) -> dict[str, int]:
    """Return how many links lie between each node and the beginning, at most."""
    columns: dict[str, int] = {}

    def column(node_id: str) -> int:
        if node_id not in columns:
            node = workflow[node_id]
            sources = [node["inputs"][name][0] for name in _sockets(node)]
            columns[node_id] = max((column(source) + 1 for source in sources), default=0)
        return columns[node_id]

    for node_id in workflow:
        column(node_id)
    return columns


def _place(node_id: str, columns: dict[str, int]) -> list[int]:
    beside = [other for other, column in columns.items() if column == columns[node_id]]
    return [columns[node_id] * _COLUMN_PX, beside.index(node_id) * _ROW_PX]


def _node(
    node_id: str, order: int, workflow: Workflow, links: list[list[Any]], place: list[int]
) -> dict[str, Any]:
    node = workflow[node_id]
    class_type, number = node["class_type"], int(node_id)
    incoming = {link[4]: link for link in links if link[3] == number}
    return {
        "id": number,
        "type": class_type,
        "title": node["_meta"]["title"],
        "pos": place,
        "size": [_WIDTH_PX, _HEIGHT_PX.get(class_type, 110)],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [
            {"name": name, "type": kind_of(_declared(node)[name]), "link": incoming[slot][0]}
            for slot, name in enumerate(_sockets(node))
        ],
        "outputs": [
            {
                "name": NODES[class_type]["output_name"][slot],
                "type": kind,
                "slot_index": slot,
                "links": [link[0] for link in links if link[1:3] == [number, slot]],
            }
            for slot, kind in enumerate(NODES[class_type]["output"])
        ],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": _widgets(node),
    }


def _widgets(node: Any) -> list[Any]:
    """Return the values of a node in the order of its inputs."""
    values: list[Any] = []
    for name in _declared(node):
        if not isinstance(node["inputs"][name], list):
            values.append(node["inputs"][name])
            if after := _AFTER.get((node["class_type"], name)):
                values.append(after)
    return values
