"""What else the Pictures page does: references chosen, a picture as its bucket will have it, looking at pictures as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.curating import references
from maquette.curating.price import price_of
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.opening import read_size
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.project.config_file import load_settings
from maquette.project.profile import PROFILE_NAME
from maquette.spoken import counted, duration
from maquette.studio.asking import answering, body_of, project_of, studio_of
from maquette.studio.queue_page import add_job
from maquette.studio.thumbnails import SIZES_PX
from maquette.studio.workspace import NotFound, Project


def routes() -> list[Route]:
    """Return these addresses."""
    return [
        Route("/api/p/{project}/references", listed),
        Route("/api/p/{project}/references/move", answering(moved), methods=["POST"]),
        Route("/api/p/{project}/reference/{name:path}", reference),
        Route("/api/p/{project}/crop/{name:path}", cropped),
        Route("/api/p/{project}/curate-price", priced),
        Route("/api/p/{project}/curate", answering(curated), methods=["POST"]),
    ]


# --- references ------------------------------------------------------------------------------------------


def listed(request: Request) -> Response:
    """Return the names of the project's references."""
    return JSONResponse(told(project_of(request)))


def told(project: Project) -> dict[str, Any]:
    """Return a project's references as the page has them."""
    folder = project.root / references.FOLDER
    found = references.references_in(project.root)
    return {"references": [path.relative_to(folder).as_posix() for path in found]}


def moved(request: Request, data: bytes) -> dict[str, Any]:
    """Move pictures to the references, or references back among the pictures."""
    project = project_of(request)
    given = body_of(data, names=list, back=bool)
    if not given["names"] or not all(isinstance(name, str) for name in given["names"]):
        raise ConfigError(Problem("names", "no names", "names of pictures", "Reload the page."))
    move = references.give_back if given["back"] else references.choose_references
    move(project.root, given["names"])
    return told(project)


def reference(request: Request) -> Response:
    """Return a small version of a reference."""
    project = project_of(request)
    path = project.file(request.path_params["name"], below=project.root / references.FOLDER)
    if path not in {each.resolve() for each in references.references_in(project.root)}:
        raise NotFound(Problem(path.name, "no reference of this project", "a reference", "Reload the page."))
    data = studio_of(request).thumbnails.of(path, SIZES_PX[0])
    return Response(data, media_type="image/webp", headers={"cache-control": "private, no-cache"})


# --- a picture as its bucket will have it ----------------------------------------------------------------


def cropped(request: Request) -> Response:
    """Return the bucket of one picture: its size, what of the picture is in it, by how much it is enlarged."""
    project = project_of(request)
    path = project.file(request.path_params["name"], below=project.pictures)
    return JSONResponse(crop_of(project, path))


def crop_of(project: Project, path: Path) -> dict[str, Any]:
    """Return how training will take one picture of a project, in numbers and in words."""
    from maquette.dataset.planned import fit_of, input_of
    from maquette.dataset.reading import read_dataset
    from maquette.project.request_maquette import UNSAVED, request_of

    request = request_of(load_settings(project.root), UNSAVED)
    facts: DatasetFacts = read_dataset(input_of(request, project.pictures), "listing")
    size_wh = read_size(path)
    fit = fit_of(path, size_wh, facts, request, _grid_px(request.base))
    if fit is None:
        return {
            "trained": False,
            "said": "Training does not look here: it takes the folder itself and N_name folders.",
        }
    share = [min(1.0, fit.bucket_wh[at] / fit.resized_wh[at]) for at in (0, 1)]
    scale = max(fit.resized_wh[at] / size_wh[at] for at in (0, 1))
    cut = 1 - share[0] * share[1]
    return {
        "trained": True,
        "bucket": list(fit.bucket_wh),
        "picture": list(size_wh),
        "share": share,
        "crop": fit.crop,
        "scale": scale,
        "said": _said(fit.bucket_wh, size_wh, scale, cut, fit.crop),
    }


def _said(bucket_wh: tuple[int, int], size_wh: tuple[int, int], scale: float, cut: float, crop: str) -> str:
    words = [f"{size_wh[0]} × {size_wh[1]} is trained as {bucket_wh[0]} × {bucket_wh[1]}"]
    if scale > 1.005:
        words.append(f"enlarged {scale:.2f} times")
    elif scale < 0.995:
        words.append(f"shrunk to {scale:.0%}")
    words.append(f"{cut:.1%} is cut away" if cut > 0.0005 else "nothing is cut away")
    if cut > 0.0005 and crop != "centre":
        words.append("another piece at every showing")
    return ", ".join(words) + "."


def _grid_px(base: str | None) -> int:
    """Return what the base needs sides to be a multiple of; the usual where there is none to look at."""
    from maquette import families
    from maquette.dataset.planned import DEFAULT_GRID_PX

    try:
        return families.inspect_or_known(base).vae_factor if base else DEFAULT_GRID_PX
    except MaquetteError:
        return DEFAULT_GRID_PX


# --- looking at pictures, as a job -----------------------------------------------------------------------


def priced(request: Request) -> Response:
    """Return what looking at the project's pictures will take."""
    project = project_of(request)
    price = price_of(project.pictures)
    known = references.references_in(project.root)
    said = (
        f"{counted(price.unseen, 'new picture')} of {price.pictures:,}: about {duration(max(1.0, price.seconds))}."
        if price.unseen
        else f"All {counted(price.pictures, 'picture')} were looked at; what has changed is looked at again."
    )
    if known:
        said += f" Comparing them with {counted(len(known), 'reference')} comes on top, and needs an encoder's model."
    return JSONResponse(
        {"unseen": price.unseen, "pictures": price.pictures, "seconds": price.seconds, "said": said}
    )


def curated(request: Request, data: bytes) -> dict[str, Any]:
    """Put a run of curation into the queue, with the project's references and profile."""
    project = project_of(request)
    body_of(data)
    arguments = [str(project.pictures)]
    if references.references_in(project.root):
        arguments += ["--references", str(project.root / references.FOLDER)]
    if (project.root / PROFILE_NAME).is_file():
        arguments += ["--profile", str(project.root / PROFILE_NAME)]
    return add_job("curate", arguments, project.root)
