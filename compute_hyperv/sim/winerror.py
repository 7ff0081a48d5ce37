# SPDX-License-Identifier: Apache-2.0
"""Windows error codes: names, texts and the errno that Python gives them.

Texts are those of the system message table (English).  The errno column is
that of Python for Windows (PC/errmap.h), so that ``FileNotFoundError`` and
its kin come out as there.
"""

import errno
from typing import Dict
from typing import NamedTuple
from typing import Optional

FILE_NOT_FOUND = 2
PATH_NOT_FOUND = 3
ACCESS_DENIED = 5
INVALID_HANDLE = 6
NOT_ENOUGH_MEMORY = 8
INVALID_DATA = 13
NOT_SAME_DEVICE = 17
NOT_READY = 21
SHARING_VIOLATION = 32
HANDLE_EOF = 38
NOT_SUPPORTED = 50
BAD_NETPATH = 53
BAD_NET_NAME = 67
FILE_EXISTS = 80
INVALID_PARAMETER = 87
BROKEN_PIPE = 109
DISK_FULL = 112
SEM_TIMEOUT = 121
INSUFFICIENT_BUFFER = 122
INVALID_NAME = 123
DIR_NOT_EMPTY = 145
BAD_PATHNAME = 161
ALREADY_EXISTS = 183
FILENAME_EXCED_RANGE = 206
PIPE_BUSY = 231
NO_DATA = 232
PIPE_NOT_CONNECTED = 233
MORE_DATA = 234
WAIT_TIMEOUT = 258
DIRECTORY = 267
NOT_OWNER = 288
OPERATION_ABORTED = 995
IO_INCOMPLETE = 996
IO_PENDING = 997
NOACCESS = 998
NOT_FOUND = 1168
NONE_MAPPED = 1332
NOT_A_REPARSE_POINT = 4390
VHD_DRIVE_FOOTER_MISSING = 0xC03A0001
VHD_DRIVE_FOOTER_CHECKSUM_MISMATCH = 0xC03A0002
VHD_DRIVE_FOOTER_CORRUPT = 0xC03A0003
VHD_FORMAT_UNKNOWN = 0xC03A0004
VHD_FORMAT_UNSUPPORTED_VERSION = 0xC03A0005
VHD_SPARSE_HEADER_CHECKSUM_MISMATCH = 0xC03A0006
VHD_SPARSE_HEADER_CORRUPT = 0xC03A0008
VHD_BLOCK_ALLOCATION_TABLE_CORRUPT = 0xC03A000A
VHD_INVALID_BLOCK_SIZE = 0xC03A000B
VHD_PARENT_VHD_NOT_FOUND = 0xC03A000D
VHD_CHILD_PARENT_ID_MISMATCH = 0xC03A000E
VHD_CHILD_PARENT_TIMESTAMP_MISMATCH = 0xC03A000F
VHD_INVALID_SIZE = 0xC03A0012
VHD_INVALID_FILE_SIZE = 0xC03A0013
VIRTDISK_PROVIDER_NOT_FOUND = 0xC03A0014
VIRTDISK_NOT_VIRTUAL_DISK = 0xC03A0015
VHD_PARENT_VHD_ACCESS_DENIED = 0xC03A0016
VHD_CHILD_PARENT_SIZE_MISMATCH = 0xC03A0017
VHD_DIFFERENCING_CHAIN_CYCLE_DETECTED = 0xC03A0018
VHD_DIFFERENCING_CHAIN_ERROR_IN_PARENT = 0xC03A0019
VIRTUAL_DISK_LIMITATION = 0xC03A001A
VHD_INVALID_TYPE = 0xC03A001B
VHD_INVALID_STATE = 0xC03A001C
VIRTDISK_DISK_ALREADY_OWNED = 0xC03A001E


class _Row(NamedTuple):
    errno: int
    text: str


_TABLE: Dict[int, _Row] = {
    0: _Row(0, 'The operation completed successfully.'),
    1: _Row(errno.EINVAL, 'Incorrect function.'),
    FILE_NOT_FOUND: _Row(
        errno.ENOENT, 'The system cannot find the file specified.'),
    PATH_NOT_FOUND: _Row(
        errno.ENOENT, 'The system cannot find the path specified.'),
    ACCESS_DENIED: _Row(errno.EACCES, 'Access is denied.'),
    INVALID_HANDLE: _Row(errno.EBADF, 'The handle is invalid.'),
    NOT_ENOUGH_MEMORY: _Row(
        errno.ENOMEM, 'Not enough memory resources are available to process '
        'this command.'),
    INVALID_DATA: _Row(errno.EINVAL, 'The data is invalid.'),
    NOT_SAME_DEVICE: _Row(
        errno.EXDEV,
        'The system cannot move the file to a different disk drive.'),
    NOT_READY: _Row(errno.EACCES, 'The device is not ready.'),
    SHARING_VIOLATION: _Row(
        errno.EACCES, 'The process cannot access the file because it is '
        'being used by another process.'),
    HANDLE_EOF: _Row(errno.EINVAL, 'Reached the end of the file.'),
    NOT_SUPPORTED: _Row(errno.EINVAL, 'The request is not supported.'),
    BAD_NETPATH: _Row(errno.ENOENT, 'The network path was not found.'),
    BAD_NET_NAME: _Row(errno.ENOENT, 'The network name cannot be found.'),
    FILE_EXISTS: _Row(errno.EEXIST, 'The file exists.'),
    INVALID_PARAMETER: _Row(errno.EINVAL, 'The parameter is incorrect.'),
    BROKEN_PIPE: _Row(errno.EPIPE, 'The pipe has been ended.'),
    DISK_FULL: _Row(
        errno.ENOSPC, 'There is not enough space on the disk.'),
    SEM_TIMEOUT: _Row(
        errno.EINVAL, 'The semaphore timeout period has expired.'),
    INSUFFICIENT_BUFFER: _Row(
        errno.EINVAL, 'The data area passed to a system call is too small.'),
    INVALID_NAME: _Row(
        errno.EINVAL, 'The filename, directory name, or volume label syntax '
        'is incorrect.'),
    DIR_NOT_EMPTY: _Row(errno.ENOTEMPTY, 'The directory is not empty.'),
    BAD_PATHNAME: _Row(errno.ENOENT, 'The specified path is invalid.'),
    ALREADY_EXISTS: _Row(
        errno.EEXIST, 'Cannot create a file when that file already exists.'),
    FILENAME_EXCED_RANGE: _Row(
        errno.ENOENT, 'The filename or extension is too long.'),
    PIPE_BUSY: _Row(errno.EAGAIN, 'All pipe instances are busy.'),
    NO_DATA: _Row(errno.EPIPE, 'The pipe is being closed.'),
    PIPE_NOT_CONNECTED: _Row(
        errno.EPIPE, 'No process is on the other end of the pipe.'),
    MORE_DATA: _Row(errno.EPIPE, 'More data is available.'),
    WAIT_TIMEOUT: _Row(errno.EINVAL, 'The wait operation timed out.'),
    DIRECTORY: _Row(errno.ENOTDIR, 'The directory name is invalid.'),
    NOT_OWNER: _Row(
        errno.EINVAL, 'Attempt to release mutex not owned by caller.'),
    OPERATION_ABORTED: _Row(
        errno.EINVAL, 'The I/O operation has been aborted because of either '
        'a thread exit or an application request.'),
    IO_INCOMPLETE: _Row(
        errno.EINVAL, 'Overlapped I/O event is not in a signaled state.'),
    IO_PENDING: _Row(
        errno.EINVAL, 'Overlapped I/O operation is in progress.'),
    NOACCESS: _Row(errno.EINVAL, 'Invalid access to memory location.'),
    NOT_FOUND: _Row(errno.EINVAL, 'Element not found.'),
    NONE_MAPPED: _Row(
        errno.EINVAL, 'No mapping between account names and security IDs '
        'was done.'),
    NOT_A_REPARSE_POINT: _Row(
        errno.EINVAL, 'The file or directory is not a reparse point.'),
    VHD_DRIVE_FOOTER_MISSING: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The virtual hard '
        'disk drive footer is missing.'),
    VHD_DRIVE_FOOTER_CHECKSUM_MISMATCH: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The virtual hard '
        'disk drive footer checksum does not match the on-disk checksum.'),
    VHD_DRIVE_FOOTER_CORRUPT: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The virtual hard '
        'disk drive footer in the virtual hard disk is corrupted.'),
    VHD_FORMAT_UNSUPPORTED_VERSION: _Row(
        errno.EINVAL, 'The version does not support this version of the '
        'file format.'),
    VHD_SPARSE_HEADER_CHECKSUM_MISMATCH: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The sparse header '
        'checksum does not match the on-disk checksum.'),
    VHD_SPARSE_HEADER_CORRUPT: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The sparse header '
        'of the virtual hard disk is corrupt.'),
    VHD_BLOCK_ALLOCATION_TABLE_CORRUPT: _Row(
        errno.EINVAL, 'The virtual hard disk is corrupted. The block '
        'allocation table in the virtual hard disk is corrupt.'),
    VHD_INVALID_BLOCK_SIZE: _Row(
        errno.EINVAL, 'The block size of the virtual hard disk is invalid.'),
    VHD_FORMAT_UNKNOWN: _Row(
        errno.EINVAL, 'The format of the disk is not recognized.'),
    VHD_PARENT_VHD_NOT_FOUND: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is broken. The system '
        'cannot locate the parent virtual hard disk for the differencing '
        'disk.'),
    VHD_CHILD_PARENT_ID_MISMATCH: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is corrupted. There '
        'is a mismatch in the identifiers of the parent virtual hard disk '
        'and differencing disk.'),
    VHD_CHILD_PARENT_TIMESTAMP_MISMATCH: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is corrupted. There '
        'is a mismatch in the time stamps of the parent virtual hard disk '
        'and differencing disk.'),
    VHD_INVALID_SIZE: _Row(
        errno.EINVAL, 'The size of the virtual hard disk is not valid.'),
    VHD_INVALID_FILE_SIZE: _Row(
        errno.EINVAL, 'The file size of the virtual hard disk is not '
        'valid.'),
    VIRTDISK_PROVIDER_NOT_FOUND: _Row(
        errno.EINVAL, 'A virtual disk support provider for the specified '
        'file was not found.'),
    VIRTDISK_NOT_VIRTUAL_DISK: _Row(
        errno.EINVAL, 'The specified disk is not a virtual disk.'),
    VHD_PARENT_VHD_ACCESS_DENIED: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is inaccessible. The '
        'process has not been granted access rights to the parent virtual '
        'hard disk for the differencing disk.'),
    VHD_CHILD_PARENT_SIZE_MISMATCH: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is corrupted. There '
        'is a mismatch in the virtual sizes of the parent virtual hard disk '
        'and differencing disk.'),
    VHD_DIFFERENCING_CHAIN_CYCLE_DETECTED: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is corrupted. A '
        'differencing disk is indicated in its own parent chain.'),
    VHD_DIFFERENCING_CHAIN_ERROR_IN_PARENT: _Row(
        errno.EINVAL, 'The chain of virtual hard disks is inaccessible. '
        'There was an error opening a virtual hard disk further up the '
        'chain.'),
    VIRTUAL_DISK_LIMITATION: _Row(
        errno.EINVAL, 'The requested operation could not be completed due '
        'to a virtual disk system limitation. Virtual hard disk files must '
        'be uncompressed and unencrypted and must not be sparse.'),
    VHD_INVALID_TYPE: _Row(
        errno.EINVAL, 'The requested operation cannot be performed on a '
        'virtual disk of this type.'),
    VHD_INVALID_STATE: _Row(
        errno.EINVAL, 'The requested operation cannot be performed on the '
        'virtual disk in its current state.'),
    VIRTDISK_DISK_ALREADY_OWNED: _Row(
        errno.EINVAL, 'The virtual disk is already owned by a different '
        'owner.'),
}

#: The code of an errno that the local file system reports to us.
_FROM_ERRNO = {
    errno.ENOENT: FILE_NOT_FOUND, errno.EACCES: ACCESS_DENIED,
    errno.EPERM: ACCESS_DENIED, errno.EEXIST: ALREADY_EXISTS,
    errno.ENOTEMPTY: DIR_NOT_EMPTY, errno.EXDEV: NOT_SAME_DEVICE,
    errno.ENOTDIR: PATH_NOT_FOUND, errno.EISDIR: ACCESS_DENIED,
    errno.ENOSPC: DISK_FULL, errno.EINVAL: INVALID_PARAMETER,
    errno.ENAMETOOLONG: FILENAME_EXCED_RANGE, errno.EBADF: INVALID_HANDLE,
    errno.ELOOP: 1921,
}


class WinError(Exception):
    """A Windows call refused its work.

    :ivar winerror: the error code, unsigned.
    :ivar path: the Windows path that it is about, or None.
    """

    def __init__(self, winerror: int, path: Optional[str] = None) -> None:
        super().__init__(winerror, path)
        self.winerror = winerror & 0xFFFFFFFF
        self.path = path

    def __str__(self) -> str:
        where = '' if self.path is None else ': %r' % self.path
        return '[WinError %s] %s%s' % (
            show(self.winerror), text_of(self.winerror), where)


def show(winerror: int) -> str:
    """A code as people write it: decimal, or hex for HRESULT-like ones."""
    return str(winerror) if winerror < 0x10000 else '0x%08X' % winerror


def is_known(winerror: int) -> bool:
    """Whether the message table has a text for this code."""
    return winerror in _TABLE


def text_of(winerror: int) -> str:
    """The system's message for a code, one line."""
    row = _TABLE.get(winerror)
    return row.text if row else 'Error %s.' % show(winerror)


def errno_of(winerror: int) -> int:
    """The errno that Python for Windows gives an OSError of this code."""
    row = _TABLE.get(winerror)
    return row.errno if row else errno.EINVAL


def os_error(winerror: int, path: Optional[str] = None,
             path2: Optional[str] = None) -> OSError:
    """The OSError that Python for Windows raises; has ``.winerror``."""
    error = OSError(errno_of(winerror), text_of(winerror), path)
    if path2 is not None:
        error.filename2 = path2
    error.winerror = winerror           # type: ignore[attr-defined]
    return error


def from_os_error(error: OSError, path: Optional[str] = None) -> WinError:
    """The WinError of an error of the local file system."""
    code = getattr(error, 'winerror', None)
    if not isinstance(code, int):
        code = _FROM_ERRNO.get(error.errno or 0, ACCESS_DENIED)
    return WinError(code, path)
