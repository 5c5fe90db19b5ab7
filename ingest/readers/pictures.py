"""Pictures as media: opened within limits, turned upright, made no larger than need be; the only importer of Pillow.

Whoever reads a picture gets it drawn anew, as a plain JPEG: nothing of a stranger's file goes any further than here.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.types import MediaKind, MediaLimits, Medium

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PICTURE_LIMITS", "PictureFile", "PictureTooLargeError", "medium_of_grey", "opened", "png_of_colours"]

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_QUALITIES = (88, 75, 60, 45)
_SMALLEST = 16
"""A picture with a shorter side has nothing to say: bullets, rules, counting pixels."""
_BLANK = 24
"""Shades of grey between the darkest and the lightest point of an empty page, of 256."""
PICTURE_LIMITS = MediaLimits(max_pixels=4_000_000, max_side=2048)
"""What describing a picture takes; models look at no more of it."""


class PictureTooLargeError(Exception):
    """A picture unfolds to more than may be held in memory."""


class PictureFile:
    """A picture that was opened: one frame, or those of a TIFF, which are pages."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.n_pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
        self.media_type = {"JPEG": "image/jpeg", "MPO": "image/jpeg"}.get(
            image.format or "", f"image/{(image.format or 'png').lower()}"
        )

    def medium(self, place: int, kind: MediaKind, limits: MediaLimits) -> Medium | None:
        """Return page ``place`` (from 0) as a medium: grey where its text is to be read. None for one that is empty."""
        from PIL import ImageOps

        self._image.seek(place)
        _check(self._image)
        if kind == "picture":
            limits = MediaLimits(
                limits.max_bytes,
                min(limits.max_pixels, PICTURE_LIMITS.max_pixels),
                min(limits.max_side, PICTURE_LIMITS.max_side),
            )
        if min(self._image.size) < _SMALLEST:
            return None
        if self._image.format == "JPEG":  # a quarter of the pixels costs a quarter of the time; the same for both kinds
            scale = _scale(*self._image.size, MediaLimits())
            self._image.draft(None, (math.ceil(self._image.width * scale), math.ceil(self._image.height * scale)))
        image = _on_white(ImageOps.exif_transpose(self._image), "L" if kind == "page" else "RGB")
        if _is_blank(np.asarray(image)):
            return None
        return _medium(image, kind, limits)


@contextmanager
def opened(data: bytes) -> Iterator[PictureFile]:
    """Open a picture. Raises PictureTooLargeError for one that would fill the memory, OSError for what is none."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                yield PictureFile(image)
        except UnidentifiedImageError as error:  # its own words name an address in memory
            raise OSError("no picture can be found in it") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise PictureTooLargeError(str(error)) from error


def medium_of_grey(pixels: NDArray[np.uint8], limits: MediaLimits) -> Medium | None:
    """Return a drawn page, (height, width), as a medium; None for one that is empty."""
    from PIL import Image

    return None if _is_blank(pixels) else _medium(Image.fromarray(pixels), "page", limits)


def png_of_colours(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture, (height, width, 3) with red first, as PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _check(image: Image) -> None:
    """Raise PictureTooLargeError for a page of more pixels than Pillow thinks safe; it only looks at the first."""
    from PIL import Image as Pillow

    most = Pillow.MAX_IMAGE_PIXELS or 89_478_485
    if image.width * image.height > most:
        raise PictureTooLargeError(f"a page of {image.width:,} x {image.height:,} pixels; at most {most:,} are read")


def _on_white(image: Image, mode: str) -> Image:
    """Return the picture in a mode for JPEG; what is transparent becomes white."""
    from PIL import Image as Pillow

    if image.mode.startswith(("I", "F")):  # more than 8 bits of grey: converting would cut them off
        values = np.asarray(image, dtype=np.float32)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        return Pillow.fromarray(((values - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8)).convert(mode)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        ground = Pillow.new("RGBA", clear.size, "white")
        return Pillow.alpha_composite(ground, clear).convert(mode)
    return image.convert(mode)


def _is_blank(pixels: NDArray[np.uint8]) -> bool:
    return int(pixels.max()) - int(pixels.min()) < _BLANK


def _medium(image: Image, kind: MediaKind, limits: MediaLimits) -> Medium:
    """Return a JPEG within the limits: smaller, then of less quality."""
    from PIL import Image as Pillow

    scale = _scale(*image.size, limits)
    while True:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        smaller = image if size == image.size else image.resize(size, Pillow.Resampling.LANCZOS)
        for quality in _QUALITIES:
            out = io.BytesIO()
            smaller.save(out, "JPEG", quality=quality)
            if out.tell() <= limits.max_bytes:
                return Medium(kind, "image/jpeg", out.getvalue(), width=size[0], height=size[1])
        scale *= 0.7


def _scale(width: int, height: int, limits: MediaLimits) -> float:
    return min(1.0, math.sqrt(limits.max_pixels / (width * height)), limits.max_side / max(width, height))
