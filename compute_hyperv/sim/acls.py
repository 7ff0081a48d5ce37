# SPDX-License-Identifier: Apache-2.0
"""Access control lists of files: kept, inherited, shown.

They are not enforced but for machines: one whose account is denied a file
cannot use it.

An entry is ``{'trustee', 'mask', 'flags', 'kind'}``: ACCESS_MASK bits, ACE
flags, and 'allow' or 'deny'.  A file keeps its own entries; those that it
inherits are found when asked for.
"""

import os
from typing import Any
from typing import Dict
from typing import List

from . import handles
from . import winerror
from .ports import op
from .storage import Located
from .storage import Storage
from .winerror import WinError

Entry = Dict[str, Any]

OBJECT_INHERIT = 1
CONTAINER_INHERIT = 2
NO_PROPAGATE = 4
INHERIT_ONLY = 8
INHERITED = 0x10

# ACCESS_MODE of EXPLICIT_ACCESS
GRANT_ACCESS = 1
SET_ACCESS = 2
DENY_ACCESS = 3
REVOKE_ACCESS = 4

#: GENERIC_MAPPING of files.
_GENERIC = {0x80000000: 0x120089, 0x40000000: 0x120116,
            0x20000000: 0x1200A0, 0x10000000: 0x1F01FF}
_ALL_GENERIC = 0xF0000000
_FULL = 0x1F01FF
_READ_DATA = 1

#: What the root of a drive gives to everything on it.
_ROOT = ({'trustee': 'NT AUTHORITY\\SYSTEM', 'mask': _FULL},
         {'trustee': 'BUILTIN\\Administrators', 'mask': _FULL},
         {'trustee': 'BUILTIN\\Users', 'mask': 0x1200A9})

#: icacls: whole words first, then letters.
_SIMPLE = {0x1F01FF: 'F', 0x1301BF: 'M', 0x1200A9: 'RX', 0x120089: 'R'}
_GROUPS = ((0x100116, 'W'),)
_LETTERS = ((0x10000, 'DE'), (0x20000, 'Rc'), (0x40000, 'WDAC'),
            (0x80000, 'WO'), (0x100000, 'S'), (0x1000000, 'AS'),
            (0x2000000, 'MA'), (0x80000000, 'GR'), (0x40000000, 'GW'),
            (0x20000000, 'GE'), (0x10000000, 'GA'), (0x1, 'RD'),
            (0x2, 'WD'), (0x4, 'AD'), (0x8, 'REA'), (0x10, 'WEA'),
            (0x20, 'X'), (0x40, 'DC'), (0x80, 'RA'), (0x100, 'WA'))
_FLAGS = ((INHERITED, 'I'), (OBJECT_INHERIT, 'OI'),
          (CONTAINER_INHERIT, 'CI'), (INHERIT_ONLY, 'IO'),
          (NO_PROPAGATE, 'NP'))


@op('dll.advapi32.GetNamedSecurityInfoW')
def get_acl(host: Any, *, path: str) -> List[Entry]:
    """The entries of a file or folder: its own, then inherited ones."""
    storage: Storage = host.storage
    found = storage.locate(path).need()
    real = os.path.realpath(found.local)
    return _own(storage, found) + _inherited(storage, found, real)


@op('dll.advapi32.SetNamedSecurityInfoW')
def set_acl(host: Any, *, path: str, entries: List[Entry]) -> None:
    """Give a file or folder entries of its own.

    Generic rights become those of files; on a folder, an entry for its
    children keeps them, and takes effect as a second entry.
    """
    storage: Storage = host.storage
    found = storage.locate(path).need()
    is_dir = os.path.isdir(found.local)
    own = [mapped for entry in entries if not entry['flags'] & INHERITED
           for mapped in _mapped(entry, is_dir)]
    key = handles.Handles.key_of(path, found.local)
    with storage.shares.lock:
        storage.shares.acls[key] = own


@op('dll.advapi32.SetEntriesInAclW')
def merge_entries(host: Any, *, entries: List[Entry], trustee: str,
                  mask: int, mode: int, flags: int) -> List[Entry]:
    """A list with one more explicit entry.

    :raises WinError: 1332 nobody of that name, 87 unknown mode.
    """
    if not _is_account(host, trustee):
        raise WinError(winerror.NONE_MAPPED)
    if mode not in (GRANT_ACCESS, SET_ACCESS, DENY_ACCESS, REVOKE_ACCESS):
        raise WinError(winerror.INVALID_PARAMETER)
    kept = [entry for entry in entries
            if mode in (GRANT_ACCESS, DENY_ACCESS)
            or entry['trustee'].upper() != trustee.upper()
            or entry['flags'] & INHERITED]
    if mode == REVOKE_ACCESS:
        return kept
    entry = {'trustee': trustee, 'mask': mask, 'flags': flags,
             'kind': 'deny' if mode == DENY_ACCESS else 'allow'}
    # Denials come first, in the order that Windows calls canonical.
    return [entry] + kept if mode == DENY_ACCESS else kept + [entry]


@op('program.icacls')
def icacls(host: Any, *, arguments: List[str]) -> str:
    """What ``icacls.exe PATH`` prints."""
    if len(arguments) != 1:
        raise WinError(winerror.INVALID_PARAMETER)
    path = arguments[0]
    lines = [_line(entry) for entry in get_acl(host, path=path)]
    return '%s %s\n\nSuccessfully processed 1 files; Failed processing 0 ' \
        'files\n' % (path, ('\n' + ' ' * (len(path) + 1)).join(lines))


def check_machine(host: Any, guid: str, path: str) -> None:
    """Whether a virtual machine may open a file.

    Its worker runs as ``NT VIRTUAL MACHINE\\<GUID>``; what it is denied is
    looked at, not what it is allowed, as Hyper-V itself adds its account
    to the files of a machine (field-lessons.md L167).

    :raises WinError: 5
    """
    accounts = {('NT VIRTUAL MACHINE\\' + guid).upper(), 'EVERYONE',
                'NT VIRTUAL MACHINE\\VIRTUAL MACHINES'}
    if any(entry['kind'] == 'deny' and
           entry['trustee'].upper() in accounts and
           entry['mask'] & _READ_DATA and not entry['flags'] & INHERIT_ONLY
           for entry in get_acl(host, path=path)):
        raise WinError(winerror.ACCESS_DENIED, path)


def _is_account(host: Any, name: str) -> bool:
    known = ('EVERYONE', 'NULL SID', 'SYSTEM', 'ADMINISTRATORS', 'USERS',
             'NETWORK SERVICE', 'LOCAL SERVICE', 'ADMINISTRATOR')
    accounts = [one.upper() for one in host.spec.extra.get('accounts', ())]
    return name.upper() in known or name.upper() in accounts or any(
        sign in name for sign in ('\\', '@', '$')) or (
            name.upper().startswith('S-1-'))


def _own(storage: Storage, found: Located) -> List[Entry]:
    key = handles.Handles.key_of(found.path, found.local)
    with storage.shares.lock:
        return [dict(entry) for entry in storage.shares.acls.get(key, ())]


def _inherited(storage: Storage, found: Located, real: str) -> List[Entry]:
    need = CONTAINER_INHERIT if os.path.isdir(real) else OBJECT_INHERIT
    entries: List[Entry] = []
    while real != found.volume.root and len(real) > 1:
        real = os.path.dirname(real)
        status = os.stat(real)
        for entry in storage.shares.acls.get(
                (status.st_dev, status.st_ino), ()):
            if entry['flags'] & need:
                entries += _mapped(dict(
                    entry, flags=entry['flags'] & ~INHERIT_ONLY | INHERITED
                    if need == CONTAINER_INHERIT else INHERITED),
                    need == CONTAINER_INHERIT)
    flags = INHERITED | (OBJECT_INHERIT | CONTAINER_INHERIT
                         if need == CONTAINER_INHERIT else 0)
    return entries + [dict(entry, flags=flags, kind='allow')
                      for entry in _ROOT]


def _mapped(entry: Entry, is_dir: bool) -> List[Entry]:
    mask = int(entry['mask'])
    specific = mask & ~_ALL_GENERIC
    for generic, rights in _GENERIC.items():
        specific |= rights if mask & generic else 0
    passed_on = entry['flags'] & (OBJECT_INHERIT | CONTAINER_INHERIT)
    if not is_dir:
        return [dict(entry, mask=specific,
                     flags=entry['flags'] & INHERITED)]
    if not passed_on or specific == mask:
        return [dict(entry, mask=specific)]
    if entry['flags'] & INHERIT_ONLY:
        return [entry]
    return [dict(entry, mask=specific, flags=entry['flags'] & INHERITED),
            dict(entry, flags=entry['flags'] | INHERIT_ONLY)]


def _line(entry: Entry) -> str:
    flags = ''.join('(%s)' % name for bit, name in _FLAGS
                    if entry['flags'] & bit)
    deny = '(DENY)' if entry['kind'] == 'deny' else ''
    return '%s:%s%s(%s)' % (entry['trustee'], flags, deny,
                            ','.join(_rights(int(entry['mask']))))


def _rights(mask: int) -> List[str]:
    if mask in _SIMPLE:
        return [_SIMPLE[mask]]
    names: List[str] = []
    for bits, name in _GROUPS + _LETTERS:
        if mask & bits == bits:
            names.append(name)
            mask &= ~bits
    return names
