"""Networks over one picture as ONNX files that a user brings by path (extra `masks`): opened, their input told."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.errors import MissingExtra, ModelError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and spread of the channels that most networks were trained with."""


@dataclass(frozen=True)
class PictureNetwork:
    """One such network, [1, 3, height, width] in. `size_hw`: None for a side that may have any length."""

    session: Any
    name: str
    size_hw: tuple[int | None, int | None]

    def answer(self, values_HWC: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return its first output for one picture, as it is."""
        given = np.asarray(values_HWC, np.float32).transpose(2, 0, 1)[None]
        return np.asarray(self.session.run(None, {self.name: np.ascontiguousarray(given)})[0], np.float32)


def open_network(path: Path, what: str, wrong: Callable[[Path, str], ModelError]) -> PictureNetwork:
    """Return the network in `path`.

    Raises MissingExtra (`what` needs it) without onnxruntime, what `wrong` makes of a file that is no network over one picture.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra(what, "masks")
    import onnxruntime

    if not path.is_file():
        raise wrong(path, "no such file")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common class
        said = (str(error).splitlines() or ["unknown"])[0][:160]
        raise wrong(path, f"cannot be opened ({said})") from None
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
        raise wrong(path, f"its inputs are {[each.shape for each in inputs]}")
    height, width = (side if isinstance(side, int) else None for side in shape[2:])
    return PictureNetwork(session, inputs[0].name, (height, width))
