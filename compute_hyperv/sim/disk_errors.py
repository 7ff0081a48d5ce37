# SPDX-License-Identifier: Apache-2.0
"""Windows error codes of virtual disks.

Codes of the 0xC03A facility are those of winerror.h. Which of them Windows
gives for each broken structure was never measured: the table is a guess in
the words of the codes' own descriptions.
"""

from collections.abc import Iterator
import contextlib
import errno

from ..vhd.structures import Malformed

FILE_NOT_FOUND = 2
ACCESS_DENIED = 5
NOT_SUPPORTED = 50
FILE_EXISTS = 80
INVALID_PARAMETER = 87
DISK_FULL = 112
FILE_CORRUPT = 1392

FOOTER_MISSING = 0xC03A0001
FOOTER_CHECKSUM = 0xC03A0002
FOOTER_CORRUPT = 0xC03A0003
HEADER_CHECKSUM = 0xC03A0006
TABLE_CORRUPT = 0xC03A000A
INVALID_BLOCK_SIZE = 0xC03A000B
PARENT_NOT_FOUND = 0xC03A000D
PARENT_ID_MISMATCH = 0xC03A000E
INVALID_SIZE = 0xC03A0012
NOT_VIRTUAL_DISK = 0xC03A0015
PARENT_SIZE_MISMATCH = 0xC03A0017
CHAIN_CYCLE = 0xC03A0018
ERROR_IN_PARENT = 0xC03A0019
INVALID_TYPE = 0xC03A001B
UNSUPPORTED_SECTOR_SIZE = 0xC03A001D
WOULD_TRUNCATE_DATA = 0xC03A0025
NO_MINIMUM_SIZE = 0xC03A0026

_CODE_OF_RULE = {
    'footer-missing': FOOTER_MISSING,
    'footer-checksum': FOOTER_CHECKSUM,
    'footer-copies': FOOTER_CORRUPT,
    'header-missing': HEADER_CHECKSUM,
    'header-checksum': HEADER_CHECKSUM,
    'kind': INVALID_TYPE,
    'block-size': INVALID_BLOCK_SIZE,
    'table': TABLE_CORRUPT,
    'not-a-disk': NOT_VIRTUAL_DISK,
}
_CODE_OF_ERRNO = {
    errno.ENOENT: FILE_NOT_FOUND,
    errno.EACCES: ACCESS_DENIED,
    errno.EPERM: ACCESS_DENIED,
    errno.EISDIR: ACCESS_DENIED,
    errno.EEXIST: FILE_EXISTS,
    errno.ENOSPC: DISK_FULL,
}


class DiskError(Exception):
    """A virtual disk operation failed.

    :ivar code: the Windows error code, unsigned 32 bits.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f'{text} (0x{code:08X})')
        self.code = code
        self.text = text


@contextlib.contextmanager
def windows_codes(what: str) -> Iterator[None]:
    """Turn format and file errors inside the block into DiskError."""
    try:
        yield
    except Malformed as exc:
        # VHDX has no codes of its own: Windows says "corrupted" there.
        code = _CODE_OF_RULE.get(exc.rule, FILE_CORRUPT)
        raise DiskError(code, f'{what}: {exc.reason}') from exc
    except OSError as exc:
        known = _CODE_OF_ERRNO.get(exc.errno or 0)
        if known is None:
            raise
        raise DiskError(known, f'{what}: {exc.strerror}') from exc
