# SPDX-License-Identifier: Apache-2.0
"""Decide whether an image from a stranger is sound and self-contained.

The whole structure is read once, with bounded memory; no other file is
ever opened and nothing is repaired. Refused are, with the reason:

1. any parent: flags, locators, types (``parent``);
2. VHDX headers that are broken, disagree, or name a log to replay;
3. region tables that are damaged, differ, overlap or hold unknown parts;
4. metadata that is missing, doubled, misplaced or of impossible values;
5. BAT entries that overlap, leave the file or have impossible states;
6. VHD footers and headers that are damaged, differ, lie about the length
   of the file, or whose size readers would read differently;
7. a virtual size over the caller's limit (:class:`TooLarge`);
8. a second format: its magic inside a fixed disk, at the tail, or beside;
9. content of another format than the caller says.

Neither oslo.utils' inspectors nor qemu-img refuse most of these.
"""

from collections.abc import Callable
import dataclasses
from typing import IO

from compute_hyperv.vhd import inspectother
from compute_hyperv.vhd.inspectvhd import inspect_vhd
from compute_hyperv.vhd.inspectvhdx import inspect_vhdx
from compute_hyperv.vhd import magic
from compute_hyperv.vhd.source import Source
from compute_hyperv.vhd.source import TooLarge
from compute_hyperv.vhd.structures import Malformed
from compute_hyperv.vhd.structures import require

__all__ = ('ImageInfo', 'inspect', 'Malformed', 'TooLarge')

_TAIL_BYTES = 512

_INSPECTORS: dict[str, Callable[[Source], tuple[str, int, int]]] = {
    'vhd': inspect_vhd,
    'vhdx': inspect_vhdx,
    'qcow2': inspectother.inspect_qcow2,
    'vmdk': inspectother.inspect_vmdk,
    'iso': inspectother.inspect_iso,
    'raw': inspectother.inspect_raw,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What a sound image is."""

    fmt: str                    #: vhd, vhdx, qcow2, vmdk, iso or raw
    kind: str                   #: fixed or dynamic
    virtual_size_bytes: int
    file_size_bytes: int
    block_bytes: int            #: 0 where the format has none


def inspect(file: IO[bytes], fmt: str | None = None,
            max_bytes: int | None = None) -> ImageInfo:
    """Inspect an image.

    :param file: open for reading, seekable.
    :param fmt: the format that it must have; None takes what it is.
    :param max_bytes: the largest virtual size to accept.
    :raises Malformed: the image is refused; ``rule`` and ``reason`` say why.
    :raises TooLarge: it is sound so far as read, but too large.
    """
    source = Source(file, max_bytes)
    require(source.end, 'truncated', 'The file is empty')
    found = _format_of(source)
    require(found in _INSPECTORS, 'format',
            f'Images of the format {found} are not accepted')
    require(fmt is None or fmt == found, 'format',
            f'The image was registered as {fmt} but is {found}')
    kind, size_bytes, block_bytes = _INSPECTORS[found](source)
    return ImageInfo(fmt=found, kind=kind, virtual_size_bytes=size_bytes,
                     file_size_bytes=source.end, block_bytes=block_bytes)


def _format_of(source: Source) -> str:
    """The one format that the file's bytes claim.

    A fixed VHD is known by its end alone: what its content begins with is
    for its own inspection to judge.
    """
    head = source.peek(0, magic.HEAD_BYTES)
    tail = source.peek(source.end - _TAIL_BYTES, _TAIL_BYTES)
    found = magic.formats(head, tail)
    if 'vhd' in found and magic.disk_format(head) not in ('vhd', 'vhdx'):
        return 'vhd'
    require(len(found) == 1, 'second-format',
            'The file can be read as ' + ' and as '.join(sorted(found)))
    return found.pop()
