"""Pictures as answers: small ones that the browser keeps until the picture changes, and the files themselves."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.errors import ConfigError, DatasetError, Problem
from maquette.studio.asking import studio_of
from maquette.studio.thumbnails import SIZES_PX, tag_of


async def small(request: Request, path: Path, size_px: int) -> Response:
    """Return a small version of a picture. Raises ConfigError for a size that is not made."""
    if size_px not in SIZES_PX:
        raise ConfigError(Problem("size", str(size_px), ", ".join(map(str, SIZES_PX)), "Reload the page."))
    tag = tag_of(path, size_px)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    data = await run_in_threadpool(studio_of(request).thumbnails.of, path, size_px)
    return Response(data, media_type="image/webp", headers=headers)


def whole(path: Path) -> Response:
    """Return a picture as it is. Raises DatasetError for what is none by its name."""
    if path.suffix.lower() not in PICTURE_EXTENSIONS:
        raise DatasetError(Problem(path.name, "no picture", "a picture", "Reload the page."))
    return FileResponse(path, headers={"cache-control": "private, no-cache"})
