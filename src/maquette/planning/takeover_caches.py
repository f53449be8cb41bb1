"""What another trainer's run kept between runs, as settings of Maquette: encoded pictures and captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken

FOLDER = "cache"
"""In the project: sd-scripts writes its files beside the pictures, which nothing else is to do here."""
BY_THREADS = "pictures are read ahead by threads of their own"


def caches(taken: Taken) -> None:
    """Take over what is cached, and where: sd-scripts caches what it keeps on a disk, whatever the other switch says."""
    request, other = taken.request, taken.request.other
    to_disk = [name for name in ("cache_latents_to_disk",) if request.value(name)]
    if to_disk:
        taken.put("cache_latents", True, "cache_latents_to_disk")
    texts = "cache_text_encoder_outputs_to_disk"
    if other.get(texts):
        to_disk.append(texts)
    if to_disk:
        name = to_disk[0]
        taken.put_as("cache_folder", FOLDER, name if name == texts else taken.origin(name))
    elif "skip_cache_check" in taken.values:
        entry = taken.values.pop("skip_cache_check")
        taken.left[entry.reason] = "no effect: nothing is kept on a disk"
    for name in ("max_data_loader_n_workers", "persistent_data_loader_workers"):
        if other.get(name):
            taken.left[name] = BY_THREADS
