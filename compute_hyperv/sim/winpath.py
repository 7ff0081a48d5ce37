# SPDX-License-Identifier: Apache-2.0
"""What the text of a Windows path means; no file is touched here.

Rules: Microsoft, "Naming Files, Paths, and Namespaces" and "Maximum Path
Length Limitation".  Names keep their case and compare without it; ``/`` is
``\\`` except behind the ``\\\\?\\`` prefix, which also switches off ``.``,
``..``, trailing dots and blanks, device names and the 260-character rule.
"""

import re
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from . import winerror
from .winerror import WinError

#: Characters of a path including its terminating NUL (MAX_PATH).
MAX_PATH = 260
#: A directory leaves room for an 8.3 name.
MAX_DIRECTORY_PATH = 248
MAX_NAME = 255

_DRIVE = re.compile(r'([A-Za-z]):(?=[\\/]|$)')
_DRIVE_RELATIVE = re.compile(r'([A-Za-z]):')
_INVALID = re.compile(r'[\x00-\x1f<>:"|?*/\\]')
_RESERVED = re.compile(
    r'(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\Z',
    re.IGNORECASE)


class WinPath(NamedTuple):
    """A parsed absolute path.

    :ivar root: ``C:`` (upper case), ``\\\\server\\share``, or a device such
        as ``\\\\.\\pipe``, for which ``is_device`` is true.
    :ivar parts: the names below the root, as written.
    """

    root: str
    parts: Tuple[str, ...]
    is_device: bool = False

    def __str__(self) -> str:
        if not self.parts and self.root.endswith(':'):
            return self.root + '\\'
        return '\\'.join((self.root,) + self.parts)

    @property
    def is_unc(self) -> bool:
        """Whether the root is a network share."""
        return self.root.startswith('\\\\') and not self.is_device

    @property
    def drive(self) -> Optional[str]:
        """The drive's letter, or None for shares and devices."""
        return None if self.root.startswith('\\\\') else self.root[0]

    @property
    def server_share(self) -> Tuple[str, str]:
        """Server and share of an UNC path."""
        server, _, share = self.root[2:].partition('\\')
        return server, share

    def child(self, name: str) -> 'WinPath':
        """The path of *name* in this directory."""
        return self._replace(parts=self.parts + (name,))

    @property
    def parent(self) -> 'WinPath':
        """The directory that holds this; the root is its own parent."""
        return self._replace(parts=self.parts[:-1])


def is_windows(path: object) -> bool:
    """Whether this is a text that names a Windows file.

    True for drives, UNC and device names; False for POSIX paths, relative
    names and everything that is not text.
    """
    if not isinstance(path, str):
        return False
    return path[:2] in ('\\\\', '//') or path[:1] == '\\' or bool(
        _DRIVE_RELATIVE.match(path))


def fold(name: str) -> str:
    """The key under which NTFS finds a name: upper case, char by char."""
    if name.isascii():
        return name.upper()
    return ''.join(upper if len(upper) == 1 else char
                   for char, upper in ((c, c.upper()) for c in name))


def parse(path: str, *, directory: bool = False,
          long_paths: bool = False) -> WinPath:
    """Take a path apart.

    :param directory: a directory is about to be made there (shorter limit,
        other error codes).
    :param long_paths: the host has LongPathsEnabled, no 260-character rule.
    :raises WinError: 2 empty, 3 or 206 too long, 123 or 267 invalid name,
        161 nothing behind the prefix.
    """
    if not path:
        raise WinError(winerror.PATH_NOT_FOUND, path)
    if path.startswith('\\\\?\\'):
        return _verbatim(path)
    parsed = _ordinary(path)
    if parsed.is_device:
        return parsed
    limit = MAX_DIRECTORY_PATH if directory else MAX_PATH
    if not long_paths and len(str(parsed)) >= limit:
        raise WinError(winerror.FILENAME_EXCED_RANGE if directory
                       else winerror.PATH_NOT_FOUND, path)
    _check(parsed.parts, path)
    if parsed.parts and is_reserved(parsed.parts[-1]):
        raise WinError(winerror.DIRECTORY if directory
                       else winerror.INVALID_NAME, path)
    return parsed


def is_reserved(name: str) -> bool:
    """Whether this file name means a device: CON, nul.txt, COM1 ..."""
    return bool(_RESERVED.match(name.split('.')[0].rstrip(' ')))


def _verbatim(path: str) -> WinPath:
    rest = path[4:]
    if rest[:4].upper() == 'UNC\\':
        parsed = _unc(rest[4:].split('\\'), path)
    else:
        drive = _DRIVE.match(rest)
        if not drive or '/' in rest[:3]:
            return WinPath('\\\\?', tuple(rest.split('\\')), True)
        parsed = WinPath(drive.group(1).upper() + ':',
                         tuple(rest[3:].split('\\')) if rest[3:] else ())
    if parsed.parts and not parsed.parts[-1]:
        parsed = parsed.parent
    if any(part in ('', '.', '..') for part in parsed.parts):
        raise WinError(winerror.INVALID_NAME, path)
    _check(parsed.parts, path)
    return parsed


def _ordinary(path: str) -> WinPath:
    text = path.replace('/', '\\')
    if text.startswith('\\\\.\\') or text == '\\\\.':
        rest = text[4:]
        if not _DRIVE.match(rest) or len(rest) < 3:
            names = [name for name in rest.split('\\') if name]
            root = '\\\\.\\pipe' if names[:1] and (
                names[0].lower() == 'pipe') else '\\\\.'
            return WinPath(root, tuple(names[1:] if 'pipe' in root
                                       else names), True)
        text = rest
    if text.startswith('\\\\'):
        parsed = _unc(text[2:].split('\\'), path)
        return parsed._replace(parts=_normal(parsed.parts))
    drive = _DRIVE_RELATIVE.match(text)
    if drive:
        return WinPath(drive.group(1).upper() + ':',
                       _normal(text[2:].split('\\')))
    # A rooted or relative name: services run in C:\Windows\System32, but
    # nothing here may depend on that, so the root of C: stands for it.
    return WinPath('C:', _normal(text.split('\\')))


def _unc(names: List[str], path: str) -> WinPath:
    if len(names) < 2 or not names[0] or not names[1]:
        raise WinError(winerror.BAD_PATHNAME, path)
    _check(names[:2], path)
    return WinPath('\\\\%s\\%s' % (names[0], names[1]), tuple(names[2:]))


def _normal(names: Iterable[str]) -> Tuple[str, ...]:
    """Resolve ``.`` and ``..``, drop empty names and trailing dots."""
    kept: List[str] = []
    for name in names:
        if name == '..':
            del kept[-1:]
        elif name not in ('', '.'):
            kept.append(name)
    # Only the last name loses blanks; inner ones lose a single dot.
    for number, name in enumerate(kept):
        if number == len(kept) - 1:
            kept[number] = name.rstrip('. ')
        elif name.endswith('.') and not name.endswith('..'):
            kept[number] = name[:-1]
    return tuple(name for name in kept if name)


def _check(names: Iterable[str], path: str) -> None:
    for name in names:
        if len(name) > MAX_NAME or _INVALID.search(name):
            raise WinError(winerror.INVALID_NAME, path)
