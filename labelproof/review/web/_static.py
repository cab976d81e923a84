"""The app's own scripts, styles and icons: read once, served with a hash in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from labelproof.report.compare.page.view import ASSETS

FOLDER = Path(__file__).parent / "static"
FOLDERS = (FOLDER, ASSETS)
"""Where the pages' files are: the app's own, and those of the compare page, which a file of it holds inside."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file; ``mark`` is of its content."""

    body: bytes
    media_type: str
    mark: str


class Assets:
    """The files of folders (not below them) whose type is one that pages use; nothing else can be asked for."""

    def __init__(self, folders: Sequence[Path] = FOLDERS) -> None:
        self._files: Mapping[str, Asset] = {
            path.name: _read(path)
            for folder in folders
            for path in sorted(folder.iterdir())
            if path.suffix in _TYPES
        }

    def url(self, name: str) -> str:
        """Return the address of a file, which changes with its content; ``KeyError`` if there is none."""
        return f"/static/{name}?v={self._files[name].mark}"

    async def serve(self, request: Request) -> Response:
        """Answer ``/static/{name}``: kept for ever by browsers when asked for by its current hash."""
        asset = self._files.get(request.path_params["name"])
        if asset is None:
            return Response(status_code=404)
        fresh = request.query_params.get("v") == asset.mark
        headers = {
            "Cache-Control": _FOR_EVER if fresh else "no-cache",
            "ETag": f'"{asset.mark}"',
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(asset.body, media_type=asset.media_type, headers=headers)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body=body, media_type=_TYPES[path.suffix], mark=blake2b(body, digest_size=9).hexdigest())
