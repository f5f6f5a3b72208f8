"""Interactive API documentation that works offline: every asset is served from here."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from maloca.core.errors import NotFound

_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
}
_START: Final = """\
window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, tryItOutEnabled: true, validatorUrl: null
});
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<noscript>The raw description is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Serve the page."""
    return HTMLResponse(_PAGE.format(title=request.app.title))


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Serve one of the page's assets."""
    if name not in _ASSETS:
        raise NotFound(f"There is nothing at /docs/{name[:100]}.")
    if name == "start.js":
        return Response(_START, media_type=_ASSETS[name])
    path = files("maloca.asgi") / "swagger" / name
    if not path.is_file():
        raise NotFound(
            f"{name} has not been built.", hint="Run make up once, or read /openapi.json."
        )
    return Response(path.read_bytes(), media_type=_ASSETS[name])
