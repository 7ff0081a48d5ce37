# SPDX-License-Identifier: Apache-2.0
"""advapi32.dll: access control lists; results are error codes.

Lists are opaque to os_win: it passes their addresses on.  Behind an
address here is a piece of memory that has the entries as an attribute.
"""

import ctypes
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
import weakref

from .. import winerror
from ..errors import NotSimulated
from ..winerror import WinError
from .system import System
from .thunk import Library

_FILE_OBJECT = 1                        # SE_FILE_OBJECT
_DACL = 4                               # DACL_SECURITY_INFORMATION
_TRUSTEE_IS_NAME = 1
_INVALID_ACL = 1336


class _Acl(ctypes.Structure):
    """An access control list."""

    _fields_ = [('header', ctypes.c_uint64)]

    def __init__(self, entries: List[Dict[str, Any]]) -> None:
        super().__init__()
        self.entries = entries


class _Descriptor(ctypes.Structure):
    """A security descriptor, which owns its list."""

    _fields_ = [('header', ctypes.c_uint64)]

    def __init__(self, acl: _Acl) -> None:
        super().__init__()
        self.acl = acl


class Advapi32(Library):
    """The functions of advapi32.dll that os_win registers."""

    dll_name = 'advapi32'

    def __init__(self, system: System) -> None:
        super().__init__(system.port)
        self._system = system
        self._acls: 'weakref.WeakValueDictionary[int, _Acl]' = (
            weakref.WeakValueDictionary())

    def _keep(self, acl: _Acl) -> int:
        address = ctypes.addressof(acl)
        self._acls[address] = acl
        return address

    def _entries(self, address: Optional[int]) -> List[Dict[str, Any]]:
        if not address:
            return []
        acl = self._acls.get(address)
        if acl is None:
            raise WinError(_INVALID_ACL)
        return acl.entries

    def do_GetNamedSecurityInfoW(
            self, path: Optional[str], kind: int, wanted: int,
            owner: Any, group: Any, pdacl: Optional[int], sacl: Any,
            pdescriptor: Optional[int]) -> int:
        if kind != _FILE_OBJECT or wanted != _DACL:
            raise NotSimulated('security information %d of object type %d'
                               % (wanted, kind))
        if not pdescriptor:
            return winerror.INVALID_PARAMETER
        entries = self._port.call('dll.advapi32.GetNamedSecurityInfoW',
                                  path=path or '')
        acl = _Acl(entries)
        if pdacl:
            _put(pdacl, self._keep(acl))
        _put(pdescriptor, self._system.allocate(_Descriptor(acl)))
        return 0

    def do_SetEntriesInAclW(self, count: int, entries: Any,
                            old: Optional[int], pnew: Optional[int]) -> int:
        if not pnew:
            return winerror.INVALID_PARAMETER
        merged = self._entries(old)
        for index in range(count):
            given = entries[index]
            if given.Trustee.TrusteeForm != _TRUSTEE_IS_NAME:
                raise NotSimulated('trustees that are no names')
            merged = self._port.call(
                'dll.advapi32.SetEntriesInAclW', entries=merged,
                trustee=given.Trustee.pstrName or '',
                mask=given.grfAccessPermissions, mode=given.grfAccessMode,
                flags=given.grfInheritance)
        acl = _Acl(merged)
        self._keep(acl)
        _put(pnew, self._system.allocate(acl))
        return 0

    def do_SetNamedSecurityInfoW(
            self, path: Optional[str], kind: int, wanted: int,
            owner: Any, group: Any, dacl: Optional[int],
            sacl: Any) -> int:
        if kind != _FILE_OBJECT or wanted != _DACL:
            raise NotSimulated('security information %d of object type %d'
                               % (wanted, kind))
        self._port.call('dll.advapi32.SetNamedSecurityInfoW',
                        path=path or '', entries=self._entries(dacl))
        return 0


def _put(address: int, value: int) -> None:
    """Store a pointer where an out parameter points."""
    ctypes.c_void_p.from_address(address).value = value
