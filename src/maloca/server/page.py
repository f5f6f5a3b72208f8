"""The built web page, served from the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from maloca.core.errors import NotFound

FOLDER: Final = "page"
# Vite puts a hash of the content into the names below this folder, so they never change.
_READ: Final = ["GET", "HEAD"]
_HASHED: Final = "assets/"
_MISSING: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Maloca</title>
<p>The page has not been built. Run <code>make up</code>, or use the API: <a href="docs">docs</a>.
<p lang="es">La página no está construida. Ejecuta <code>make up</code>, o usa la API:
<a href="docs">docs</a>.</html>
"""


def page_folder() -> Path | None:
    """Return the folder of the built page, or None if it has not been built."""
    with as_file(files("maloca.server") / FOLDER) as folder:
        return folder if (folder / "index.html").is_file() else None


def mount(app: FastAPI) -> None:
    """Serve the page at `/` and its files by their paths; everything else stays a 404."""
    folder = page_folder()
    router = APIRouter(include_in_schema=False)
    paths = (
        {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        if folder
        else {}
    )

    @router.api_route("/", methods=_READ, response_model=None)
    async def index() -> FileResponse | HTMLResponse:
        if "index.html" not in paths:
            return HTMLResponse(_MISSING, status_code=503)
        return FileResponse(paths["index.html"], headers={"Cache-Control": "no-cache"})

    @router.api_route("/{path:path}", methods=_READ, response_model=None)
    async def file(path: str) -> FileResponse:
        # Only what was there at start is served: no path that a user types reaches the disk.
        if path not in paths:
            raise NotFound(f"There is nothing at /{path[:200]}.", hint="See /docs.")
        forever = "public, max-age=31536000, immutable"
        caching = forever if path.startswith(_HASHED) else "no-cache"
        return FileResponse(paths[path], headers={"Cache-Control": caching})

    app.include_router(router)
