"""An item's image file: only from the project's folder, only real pictures, only up to a size."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 10 * 1024 * 1024
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def read_image(folder: Path, name: str) -> tuple[bytes, str] | None:
    """Return a picture's bytes and media type; None for anything that may not be shown.

    ``name``: a path below ``folder``, after following links. Known by its first bytes: PNG, JPEG, GIF, WebP (no
    SVG, which is a program); at most ``MOST_BYTES``.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        body = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    media_type = picture_type(body)
    return None if media_type is None or len(body) > MOST_BYTES else (body, media_type)


def picture_type(body: bytes) -> str | None:
    """Return the media type of PNG, JPEG, GIF or WebP bytes, None for others."""
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if body.startswith(magic)), None)
