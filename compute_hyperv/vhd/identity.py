# SPDX-License-Identifier: Apache-2.0
"""The identities by which differencing disks know their parents.

MS-VHDX 2.2.6.2: a child's ``parent_linkage`` is the DataWriteGuid of the
parent's header. Every program that writes data draws a new one, so that two
conversions of one image are two different parents. A VHD's child keeps the
unique id of its parent, which stays the same for the life of a disk.
"""

import dataclasses
import os
from typing import IO
import uuid

from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdformat
from compute_hyperv.vhd import vhdxformat

_NO_LOG = bytes(16)
_LINKAGES = ('parent_linkage', 'parent_linkage2')
_LONGEST_ITEM_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Which disk a file is.

    :ivar disk: stays the same for the life of the disk.
    :ivar content: by what a child knows it as its parent.
    :ivar parents: of a child, the contents that it takes for its parent's.
    """

    disk: str
    content: str
    parents: frozenset[str] = frozenset()


def of(stream: IO[bytes]) -> Identity:
    """The identities of a VHDX or VHD, as the file has them.

    A log that is to be replayed is left alone: it holds neither headers nor,
    for longer than a moment, the metadata that is read here.

    :param stream: the file, open for reading.
    :raises Malformed: it is neither, or damaged.
    """
    stream.seek(0)
    if stream.read(len(vhdxformat.MAGIC)) == vhdxformat.MAGIC:
        return _of_vhdx(stream)
    return _of_vhd(stream)


def _of_vhdx(stream: IO[bytes]) -> Identity:
    headers = [header for at in vhdxformat.HEADER_OFFSETS
               if (header := _read(stream, at)) is not None]
    structures.require(headers, 'headers', 'No header is valid')
    newest = max(headers, key=lambda header: header.sequence)
    items = _metadata(stream)
    structures.require(vhdxformat.DISK_ID in items, 'metadata-missing',
                       'The disk has no identifier')
    pairs = {key: value.lower() for key, value in vhdxformat.parse_locator(
        items[vhdxformat.PARENT_LOCATOR]).items()} if (
            vhdxformat.PARENT_LOCATOR in items) else {}
    return Identity(
        disk=str(uuid.UUID(bytes_le=items[vhdxformat.DISK_ID])),
        content=vhdxformat.linkage_text(newest.data_write_guid),
        parents=frozenset(pairs[key] for key in _LINKAGES if key in pairs))


def _metadata(stream: IO[bytes]) -> dict[bytes, bytes]:
    """What identifies the disk and its parent, by the item's GUID."""
    for at in vhdxformat.REGION_OFFSETS:
        raw = _bytes(stream, at, vhdxformat.REGION_BYTES)
        if vhdxformat.is_region_table(raw):
            break
    structures.require(vhdxformat.is_region_table(raw), 'region-tables',
                       'No region table is valid')
    region = next((region for region in vhdxformat.parse_regions(raw)
                   if region.guid == vhdxformat.REGION_METADATA), None)
    structures.require(region, 'region-missing', 'There is no metadata')
    assert region is not None
    table = _bytes(stream, region.offset, vhdxformat.METADATA_TABLE_BYTES)
    return {item.guid: _bytes(stream, region.offset + item.offset,
                              min(item.length_bytes, _LONGEST_ITEM_BYTES))
            for item in vhdxformat.parse_items(table)
            if item.guid in (vhdxformat.DISK_ID, vhdxformat.PARENT_LOCATOR)}


def _of_vhd(stream: IO[bytes]) -> Identity:
    end = stream.seek(0, os.SEEK_END)
    footer = vhdformat.Footer.parse(_bytes(
        stream, max(0, end - vhdformat.FOOTER_BYTES),
        vhdformat.FOOTER_BYTES))
    own = str(uuid.UUID(bytes=footer.unique_id))
    if footer.kind != vhdformat.DIFFERENCING:
        return Identity(disk=own, content=own)
    header = vhdformat.DynamicHeader.parse(_bytes(
        stream, footer.data_offset, vhdformat.HEADER_BYTES))
    return Identity(disk=own, content=own, parents=frozenset({
        str(uuid.UUID(bytes=header.parent_id))}))


def _bytes(stream: IO[bytes], at: int, count: int) -> bytes:
    stream.seek(at)
    found = stream.read(count)
    structures.require(len(found) == count, 'truncated',
                       f'The file ends before {at + count}')
    return found


def stamp(stream: IO[bytes], identity: uuid.UUID) -> None:
    """Give a VHDX that nobody uses an identity.

    The headers are written one after the other, as MS-VHDX 2.2.2.1 wants
    it: at any time one of them is sound.

    :param stream: the file, open for reading and writing.
    :raises Malformed: no sound header, or one with a log to be replayed.
    """
    found = {at: header for at in vhdxformat.HEADER_OFFSETS
             if (header := _read(stream, at)) is not None}
    structures.require(found, 'header', 'no header is sound')
    newest_at = max(found, key=lambda at: found[at].sequence)
    newest = found[newest_at]
    structures.require(newest.log_guid == _NO_LOG, 'log',
                       'it was not closed')
    # The older one first.
    offsets = sorted(vhdxformat.HEADER_OFFSETS, key=newest_at.__eq__)
    for count, at in enumerate(offsets, 1):
        stream.seek(at)
        stream.write(dataclasses.replace(
            newest, sequence=newest.sequence + count,
            data_write_guid=identity.bytes_le).pack())
        stream.flush()


def _read(stream: IO[bytes], at: int) -> vhdxformat.Header | None:
    stream.seek(at)
    return vhdxformat.Header.parse(stream.read(vhdxformat.HEADER_BYTES))
