# SPDX-License-Identifier: Apache-2.0
"""What the two formats share: units, the error, checksums, identifiers."""

from collections.abc import Callable
from typing import Any
import uuid

google_crc32c: Any
try:
    import google_crc32c
except ImportError:
    google_crc32c = None

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

SECTOR_BYTES = 512
ZERO_GUID = bytes(16)

VHD_MAX_BYTES = 2040 * GIB
VHDX_MAX_BYTES = 64 * TIB
VHD_DEFAULT_BLOCK_BYTES = 2 * MIB
#: What Windows takes for VHDX (qemu-img chooses by the disk's size instead).
VHDX_DEFAULT_BLOCK_BYTES = 32 * MIB


class Malformed(Exception):
    """A file breaks its format, or a rule about files from strangers.

    :ivar rule: short stable name of the rule, for tests and for mapping to
        error codes, such as ``footer-checksum``.
    :ivar reason: one sentence for a person.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f'{reason} ({rule})')
        self.rule = rule
        self.reason = reason


def require(condition: object, rule: str, reason: str) -> None:
    """Raise :class:`Malformed` unless *condition* holds."""
    if not condition:
        raise Malformed(rule, reason)


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c_table(data: bytes) -> int:
    """CRC-32C of *data* by table: some ms per 64 KiB."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _chosen_crc32c() -> Callable[[bytes], int]:
    if google_crc32c is None or google_crc32c.implementation != 'c':
        return crc32c_table
    value: Callable[[bytes], int] = google_crc32c.value
    return value


#: CRC-32C (Castagnoli): of the google-crc32c wheel where there is one.
crc32c: Callable[[bytes], int] = _chosen_crc32c()


def sum_complement(data: bytes) -> int:
    """One's complement of the sum of the bytes: the checksum of VHD."""
    return ~sum(data) & 0xFFFFFFFF


def sealed_crc(block: bytes, at: int = 4) -> bytes:
    """*block* with its CRC-32C, little endian, in the field at *at*."""
    clean = block[:at] + bytes(4) + block[at + 4:]
    return block[:at] + crc32c(clean).to_bytes(4, 'little') + block[at + 4:]


def is_sealed_crc(block: bytes, at: int = 4) -> bool:
    """Whether the CRC-32C in the field at *at* is that of *block*."""
    return sealed_crc(block, at) == block


def sealed_sum(block: bytes, at: int) -> bytes:
    """*block* with VHD's checksum, big endian, in the field at *at*."""
    clean = block[:at] + bytes(4) + block[at + 4:]
    total = sum_complement(clean)
    return block[:at] + total.to_bytes(4, 'big') + block[at + 4:]


def is_sealed_sum(block: bytes, at: int) -> bool:
    """Whether VHD's checksum in the field at *at* is that of *block*."""
    return sealed_sum(block, at) == block


def guid_bytes(text: str) -> bytes:
    """The 16 bytes of a GUID as VHDX stores it (mixed endian)."""
    return uuid.UUID(text).bytes_le


def new_guid() -> bytes:
    """A random GUID, 16 bytes."""
    return uuid.uuid4().bytes_le


def round_up(value: int, step: int) -> int:
    """The smallest multiple of *step* that is not below *value*."""
    return -(-value // step) * step


def divide_up(value: int, step: int) -> int:
    """How many steps of *step* it takes to cover *value*."""
    return -(-value // step)
