# SPDX-License-Identifier: Apache-2.0
"""Disk chains of checkpoints (hyperv-semantics.md section 8).

A checkpoint freezes the file that a disk had and gives the VM a new
differencing one, ``<name>_<GUID>.avhd(x)``, in the same folder. When
nothing refers to a frozen file any more, its only child is merged into it
and whoever used the child uses it from then on, so that the base names
come back.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import ntpath
import os
import typing

from . import devices
from . import virtualdisks
from .winerror import WinError
from .wmi import engine

if typing.TYPE_CHECKING:
    from .host import Host

_DIFFERENCING = {'.vhd': '.avhd', '.avhd': '.avhd',
                 '.vhdx': '.avhdx', '.avhdx': '.avhdx'}
_DEVICE = {'.avhd': virtualdisks.DEVICE_VHD,
           '.avhdx': virtualdisks.DEVICE_VHDX}


def is_difference(path: str) -> bool:
    """Whether a file was made by a checkpoint."""
    return ntpath.splitext(path)[1].lower() in _DEVICE


def freeze(host: Host, path: str) -> str:
    """Make a differencing disk of *path* and return its path.

    :raises WinError: the file is missing, in use or no disk
    """
    folder, name = ntpath.split(path)
    base, suffix = ntpath.splitext(name)
    base = base.rsplit('_', 1)[0] if is_difference(path) else base
    suffix = _DIFFERENCING[suffix.lower()]
    new = ntpath.join(folder, '%s_%s%s' % (base, host.new_guid(), suffix))
    handle = host.vdisks.create(new, device=_DEVICE[suffix], parent=path)
    host.vdisks.close(handle.number)
    return new


def delete(host: Host, path: str) -> None:
    """Delete a file; one that is gone is fine."""
    found = host.storage.locate(path)
    if found.exists:
        os.unlink(found.local)
        found.volume.changed()


def parent_of(host: Host, path: str) -> str | None:
    """Windows path of a disk's parent, or None."""
    try:
        chain = host.vdisks.chain(path)
    except WinError:
        return None
    return chain[1] if len(chain) > 1 else None


def merge(host: Host, child: str) -> str:
    """Merge *child* into its parent, delete it, return the parent.

    :raises WinError: one of the two is in use
    """
    parent = parent_of(host, child)
    if parent is None:
        raise WinError(2, child)
    handle = host.vdisks.open(child, device=0, access=virtualdisks.ALL,
                              flags=0, rw_depth=2)
    try:
        host.vdisks.merge(handle, 1)
    finally:
        host.vdisks.close(handle.number)
    delete(host, child)
    return parent


def reconnect(host: Host, child: str, parent: str) -> None:
    """Give *child* another parent of the same content."""
    handle = host.vdisks.open(child, device=0, access=virtualdisks.ALL,
                              flags=virtualdisks.NO_PARENTS)
    try:
        if handle.disk is not None:
            handle.disk.reconnect(parent, relink=True)
    finally:
        host.vdisks.close(handle.number)


class Chains:
    """The files of one VM and its checkpoints, and who refers to them."""

    def __init__(self, host: Host, media: Iterable[engine.Record],
                 is_gone: Callable[[engine.Record], bool]) -> None:
        """Find the chains.

        :param media: of the VM, its checkpoints, and those that go
        :param is_gone: whether a medium does not count as a user
        """
        self._host = host
        self._users: dict[str, list[engine.Record]] = {}
        self._parents: dict[str, str | None] = {}
        self._names: dict[str, str] = {}
        for record in media:
            self._use(record['HostResource'][0],
                      None if is_gone(record) else record)

    def _use(self, path: str, record: engine.Record | None) -> None:
        key = path.lower()
        self._names.setdefault(key, path)
        users = self._users.setdefault(key, [])
        if record is not None:
            users.append(record)
        if key not in self._parents:
            parent = parent_of(self._host, path)
            self._parents[key] = parent.lower() if parent else None
            if parent is not None and is_difference(path):
                self._use(parent, None)

    def collapse(self) -> None:
        """Merge or delete every file that nothing refers to any more."""
        while True:
            for key, users in self._users.items():
                if not users and self._drop(key):
                    break
            else:
                return

    def _children(self, key: str) -> list[str]:
        return [child for child, parent in self._parents.items()
                if parent == key]

    def _drop(self, key: str) -> bool:
        children = [child for child in self._children(key)
                    if is_difference(self._names[child])]
        if len(children) == 1:
            self._merge(children[0], key)
            return True
        if not children and is_difference(self._names[key]):
            delete(self._host, self._names[key])
            self._forget(key)
            return True
        return False

    def _merge(self, child: str, key: str) -> None:
        path = self._names[key]
        merge(self._host, self._names[child])
        for grandchild in self._children(child):
            reconnect(self._host, self._names[grandchild], path)
            self._parents[grandchild] = key
        for record in self._users[child]:
            self._host.v2.update(record, HostResource=(path,))
            self._users[key].append(record)
        self._forget(child)

    def _forget(self, key: str) -> None:
        for table in (self._users, self._parents, self._names):
            typing.cast(dict[str, typing.Any], table).pop(key)


def hard_disks(host: Host, prefix: str) -> list[engine.Record]:
    """Media that are virtual hard disks below a settings InstanceID."""
    return [record for record in host.v2.under(prefix, devices.SASD)
            if record['ResourceSubType'] == devices.HARD_DISK and
            record['HostResource'] and record['HostResource'][0]]
