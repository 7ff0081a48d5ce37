# SPDX-License-Identifier: Apache-2.0
"""VHD 1.0 structures: footer, dynamic header, parent locators. No I/O.

::

    fixed:    data | footer
    dynamic:  footer copy | dynamic header | BAT | blocks | footer
              0             512              1536

Source: Virtual Hard Disk Image Format Specification 1.0. Numbers are big
endian. A block is a bitmap (bits most significant first) and its data.
"""

from collections.abc import Sequence
import dataclasses
import struct

from compute_hyperv.vhd import structures
from compute_hyperv.vhd.structures import divide_up
from compute_hyperv.vhd.structures import require
from compute_hyperv.vhd.structures import round_up
from compute_hyperv.vhd.structures import SECTOR_BYTES

FIXED = 2
DYNAMIC = 3
DIFFERENCING = 4

FOOTER_BYTES = 512
HEADER_BYTES = 1024
#: Where the BAT of a newly made file begins.
TABLE_OFFSET = FOOTER_BYTES + HEADER_BYTES
FOOTER_MAGIC = b'conectix'
HEADER_MAGIC = b'cxsparse'
NONE32 = 0xFFFFFFFF
NONE64 = 0xFFFFFFFFFFFFFFFF
#: Seconds between the Unix epoch and that of VHD, 2000-01-01 UTC.
EPOCH_S = 946684800
#: Creator codes whose files readers size by ``current_size``; for all
#: others some readers (qemu among them) use the CHS geometry instead.
CREATORS_BY_SIZE = (b'win ', b'qem2', b'vs  ', b'd2v ', b'tap\0', b'CTXS')
LOCATOR_ABSOLUTE = b'W2ku'
LOCATOR_RELATIVE = b'W2ru'
LOCATORS = 8

_FOOTER = struct.Struct('>8sIIQI4sI4sQQHBBII16sB')
_HEADER = struct.Struct('>8sQQIIII16sII512s')
_LOCATOR = struct.Struct('>4sIIIQ')
_FOOTER_SUM = 64
_HEADER_SUM = 36
_LOCATORS_AT = 576


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track of a disk of *sectors*.

    The specification's appendix; rounds down and ends at 127 GiB.
    """
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    per_track, tracks = 17, sectors // 17
    heads = max(4, divide_up(tracks, 1024))
    if tracks >= heads * 1024 or heads > 16:
        per_track, heads = 31, 16
        tracks = sectors // per_track
    if tracks >= heads * 1024:
        per_track, heads = 63, 16
        tracks = sectors // per_track
    return tracks // heads, heads, per_track


def bitmap_bytes(block_bytes: int) -> int:
    """Length of the sector bitmap in front of a block's data."""
    return round_up(divide_up(block_bytes // SECTOR_BYTES, 8), SECTOR_BYTES)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The 512 bytes at the end, and at the start unless fixed."""

    kind: int                   #: FIXED, DYNAMIC or DIFFERENCING
    size_bytes: int             #: current size: what the guest sees
    original_size_bytes: int
    unique_id: bytes
    timestamp_s: int            #: seconds since 2000-01-01 UTC
    creator: bytes = b'win '
    creator_version: int = 0xA0000
    creator_host: bytes = b'Wi2k'
    features: int = 2
    version: int = 0x10000
    chs: tuple[int, int, int] = (0, 0, 0)
    saved_state: int = 0
    data_offset: int = NONE64

    def pack(self) -> bytes:
        """The footer's bytes, checksum included."""
        raw = _FOOTER.pack(
            FOOTER_MAGIC, self.features, self.version, self.data_offset,
            self.timestamp_s, self.creator, self.creator_version,
            self.creator_host, self.original_size_bytes, self.size_bytes,
            *self.chs, self.kind, 0, self.unique_id, self.saved_state)
        return structures.sealed_sum(raw.ljust(FOOTER_BYTES, b'\0'),
                                     _FOOTER_SUM)

    @classmethod
    def parse(cls, raw: bytes) -> 'Footer':
        """Read a footer.

        :raises Malformed: ``footer-missing`` or ``footer-checksum``; the
            values themselves are not judged.
        """
        require(len(raw) == FOOTER_BYTES and raw[:8] == FOOTER_MAGIC,
                'footer-missing', 'The file has no VHD footer')
        require(structures.is_sealed_sum(raw, _FOOTER_SUM),
                'footer-checksum', "The footer's checksum is wrong")
        (_, features, version, data_offset, timestamp_s, creator,
         creator_version, creator_host, original, size, cylinders, heads,
         sectors, kind, _, unique_id, saved) = _FOOTER.unpack_from(raw)
        return cls(kind=kind, size_bytes=size, original_size_bytes=original,
                   unique_id=unique_id, timestamp_s=timestamp_s,
                   creator=creator, creator_version=creator_version,
                   creator_host=creator_host, features=features,
                   version=version, chs=(cylinders, heads, sectors),
                   saved_state=saved, data_offset=data_offset)

    @property
    def chs_bytes(self) -> int:
        """The size that a reader by geometry sees."""
        cylinders, heads, sectors = self.chs
        return cylinders * heads * sectors * SECTOR_BYTES


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Locator:
    """Where one spelling of the parent's path is stored."""

    code: bytes                 #: LOCATOR_ABSOLUTE or LOCATOR_RELATIVE
    space_bytes: int            #: room; in bytes, as Windows writes it
    length_bytes: int
    offset: int

    def pack(self) -> bytes:
        """The entry's 24 bytes."""
        return _LOCATOR.pack(self.code, self.space_bytes, self.length_bytes,
                             0, self.offset)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DynamicHeader:
    """The 1024 bytes after the footer's copy."""

    table_offset: int
    entries: int                #: blocks that the BAT has room for
    block_bytes: int
    version: int = 0x10000
    data_offset: int = NONE64
    parent_id: bytes = structures.ZERO_GUID
    parent_timestamp_s: int = 0
    parent_name: str = ''
    locators: tuple[Locator, ...] = ()

    def pack(self) -> bytes:
        """The header's bytes, checksum included."""
        name = self.parent_name.encode('utf-16-be')[:510]
        raw = _HEADER.pack(
            HEADER_MAGIC, self.data_offset, self.table_offset, self.version,
            self.entries, self.block_bytes, 0, self.parent_id,
            self.parent_timestamp_s, 0, name)
        raw += b''.join(locator.pack() for locator in self.locators)
        return structures.sealed_sum(raw.ljust(HEADER_BYTES, b'\0'),
                                     _HEADER_SUM)

    @classmethod
    def parse(cls, raw: bytes) -> 'DynamicHeader':
        """Read a dynamic header.

        :raises Malformed: ``header-missing`` or ``header-checksum``.
        """
        require(len(raw) == HEADER_BYTES and raw[:8] == HEADER_MAGIC,
                'header-missing', 'The file has no dynamic disk header')
        require(structures.is_sealed_sum(raw, _HEADER_SUM),
                'header-checksum',
                "The dynamic disk header's checksum is wrong")
        (_, data_offset, table_offset, version, entries, block_bytes, _,
         parent_id, parent_timestamp_s, _, name) = _HEADER.unpack_from(raw)
        text = name.decode('utf-16-be', 'replace').split('\0', 1)[0]
        return cls(table_offset=table_offset, entries=entries,
                   block_bytes=block_bytes, version=version,
                   data_offset=data_offset, parent_id=parent_id,
                   parent_timestamp_s=parent_timestamp_s, parent_name=text,
                   locators=_parse_locators(raw))


def _parse_locators(raw: bytes) -> tuple[Locator, ...]:
    end = _LOCATORS_AT + LOCATORS * _LOCATOR.size
    return tuple(
        Locator(code=code, space_bytes=space, length_bytes=length, offset=at)
        for code, space, length, _, at
        in _LOCATOR.iter_unpack(raw[_LOCATORS_AT:end]) if code != bytes(4))


def has_parent_fields(raw_header: bytes) -> bool:
    """Whether a dynamic header names a parent in any of its fields."""
    end = _LOCATORS_AT + LOCATORS * _LOCATOR.size
    parent_id_and_time = raw_header[40:60]
    name_and_locators = raw_header[64:end]
    return any(parent_id_and_time) or any(name_and_locators)


def parse_table(raw: bytes) -> Sequence[int]:
    """The BAT's entries: sector numbers, NONE32 where nothing is."""
    return struct.unpack(f'>{len(raw) // 4}I', raw)
