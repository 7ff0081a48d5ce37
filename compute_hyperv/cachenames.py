# SPDX-License-Identifier: Apache-2.0
"""Which files of an image cache are of which image, see ``imagecache``."""

from collections.abc import Iterable
import ntpath
import re
from typing import Any

from compute_hyperv import images

#: A finished file: the image, or a copy grown to so many GiB.
ENTRY = re.compile(r'(?P<image_id>[0-9a-fA-F-]{36})(?:_(?P<gib>\d+))?'
                   r'\.(?P<fmt>vhdx|vhd|iso)')
#: One that somebody is making.
PARTIAL = re.compile(r'(?P<image_id>[0-9a-fA-F-]{36})[._].*'
                     + re.escape(images.PARTIAL_SUFFIX) + r'(\.\w+)?')


def of_image(names: Iterable[str], image_id: str,
             pattern: re.Pattern[str] = ENTRY) -> list[str]:
    """Those of the names that are files of one image."""
    return [name for name in names if (match := pattern.fullmatch(name))
            and match['image_id'].lower() == image_id.lower()]


def image_id_of(instance: Any, image_meta: Any) -> str:
    """The image's id; a rescue image is not the instance's own."""
    if 'id' in image_meta and image_meta.id:
        return str(image_meta.id)
    return str(instance.image_ref)


def is_grown(path: str) -> bool:
    """Whether it is a grown copy."""
    match = ENTRY.fullmatch(ntpath.basename(path))
    return bool(match and match['gib'])
