"""Smaller pictures of pages: the pixels as a palette of at most 256 colours, without an image library."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_COLOURS = 256
_NEAR = 4_096
"""So many colours are compared with the palette at a time."""


def palette_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of pixels (height, width, 3), each in the nearest colour of the palette."""
    height, width, _ = pixels.shape
    codes = pixels.astype(np.uint32) @ np.array([65_536, 256, 1], dtype=np.uint32)
    found, where, counts = np.unique(codes.ravel(), return_inverse=True, return_counts=True)
    colours = _channels(found)
    palette = _palette(colours, counts)
    nearest = np.concatenate(
        [
            ((part[:, None, :] - palette[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
            for part in np.split(colours, range(_NEAR, len(colours), _NEAR))
        ]
    ).astype(np.uint8)
    rows = nearest[where].reshape(height, width)
    raw = np.hstack([np.zeros((height, 1), dtype=np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = {
        b"IHDR": header,
        b"PLTE": palette.astype(np.uint8).tobytes(),
        b"IDAT": zlib.compress(raw, 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts.items())


def _palette(colours: npt.NDArray[np.int64], counts: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return the most frequent colours, and then those that would be missed most: far from all others, and many pixels.

    By frequency alone, the few orange pixels of a warning would be lost to the greys of a blurred text.
    """
    order = np.argsort(-counts, kind="stable")
    kept = [int(place) for place in order[: _COLOURS // 4]]
    away = np.full(len(colours), np.iinfo(np.int64).max)
    for place in kept:
        away = np.minimum(away, ((colours - colours[place]) ** 2).sum(axis=1))
    while len(kept) < min(_COLOURS, len(colours)):
        kept.append(int((away * np.sqrt(counts)).argmax()))
        away = np.minimum(away, ((colours - colours[kept[-1]]) ** 2).sum(axis=1))
    return colours[kept]


def _channels(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    return np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=1).astype(np.int64)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
