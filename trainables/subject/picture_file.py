"""Reads picture files as people have them: turned, transparent, grey, for print, of 16 bits, huge, broken."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from spaces import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SMALLEST = 16
"""Pixels of a side below which nothing can be seen."""
MOST_PIXELS = 64_000_000
"""Of a subject's picture: the largest phones' and cameras' but for a few, 190 MB decoded."""
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError, struct.error, zlib.error)


def open_picture(path: Path, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """The decoded picture, turned as its EXIF says. InputError says what is wrong with the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                _check_size(path, picture, most_pixels)
                return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        raise InputError(path, f"is no picture that can be read; it should be one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise InputError(path, f"is too large; at most {most_pixels / 1e6:.0f} million pixels are read") from None
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(path, f"is not a whole picture ({error})") from None


def to_pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """h x w x 3 in sRGB: 16 bits brought to 8, colour profiles applied, what is transparent on white."""
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return np.repeat(((wide + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if _has_alpha(picture):
        colour = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        flat = Image.alpha_composite(white, colour).convert("RGB")
        flat.info = {"icc_profile": picture.info.get("icc_profile")} if picture.mode == "RGBA" else {}
        return np.array(_in_srgb(flat))
    return np.array(_in_srgb(picture))


def alpha_mask(picture: Image.Image) -> NDArray[np.bool_] | None:
    """h x w, True where the picture is mostly opaque; None where it is so everywhere, or nowhere."""
    if not _has_alpha(picture):
        return None
    opaque = np.array(picture.convert("RGBA").getchannel("A")) > 127
    return None if opaque.all() or not opaque.any() else opaque


def to_mask(picture: Image.Image) -> NDArray[np.bool_]:
    """h x w, True where the picture is bright, and opaque if it knows of transparency."""
    if _has_alpha(picture):
        black = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    return to_pixels(picture.convert("RGB") if picture.mode == "RGBA" else picture).max(axis=2) > 127


def _check_size(path: Path, picture: Image.Image, most_pixels: int) -> None:
    width, height = picture.size
    if min(width, height) < SMALLEST:
        raise InputError(path, f"is {width} x {height} pixels; each side should have at least {SMALLEST}")
    if width * height > most_pixels:
        most = f"at most {most_pixels / 1e6:.0f} million pixels are read"
        raise InputError(path, f"is {width} x {height} pixels; {most}, `posefront prepare` makes it smaller")
    if picture.mode == "F":
        raise InputError(path, "holds floating-point numbers, not colours; save it with 8 or 16 bits")


def _has_alpha(picture: Image.Image) -> bool:
    return picture.has_transparency_data


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Through the embedded profile, where there is one that can be read and is for such pictures."""
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            return picture.convert("RGB")
    return picture.convert("RGB")
