# SPDX-License-Identifier: Apache-2.0
"""The configuration files of a VM, which the management service keeps open.

``<ConfigurationDataRoot>\\Virtual Machines\\<GUID>.xml`` for version 5.0,
``.vmcx`` and ``.vmrs`` from 6.2 on, ``.vmgs`` beside them for the guest
state of a generation 2 VM from version 8.3 (hyperv-semantics.md section 4).
They are empty here: what counts is that they exist, that they are in use
(error 32 for whoever deletes them), and that they vanish with the VM.

A planned VM has its files in the host's own folder, ``<DefaultExternal
DataRoot>\\Planned Virtual Machines``, until it is realized.
"""

from __future__ import annotations

import ntpath
import os
import typing

from . import profiles
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .handles import OpenFile
    from .vm import Vm

FOLDER = 'Virtual Machines'
PLANNED_FOLDER = 'Planned Virtual Machines'


def names(vm: Vm) -> list[str]:
    """Windows paths of the configuration files of *vm*."""
    folder = ntpath.join(vm.settings['ConfigurationDataRoot'], FOLDER)
    if vm.is_planned:
        folder = ntpath.join(vm.host.v2.find(
            'Msvm_VirtualSystemManagementServiceSettingData')[0][
            'DefaultExternalDataRoot'], PLANNED_FOLDER)
    version = profiles.version_tuple(vm.version)
    if version < (6, 2):
        suffixes = ['.xml']
    else:
        suffixes = ['.vmcx', '.vmrs']
        if vm.generation == 2 and version >= (8, 3):
            suffixes.append('.vmgs')
    return [ntpath.join(folder, vm.guid + suffix) for suffix in suffixes]


class ConfigFiles:
    """The open configuration files of the VMs of one host."""

    def __init__(self) -> None:
        self._held: dict[str, list[OpenFile]] = {}

    def create(self, vm: Vm) -> None:
        """Make and open the files of a VM that was just defined.

        :raises WinError: the folder cannot be made or written
        """
        storage = vm.host.storage
        for path in names(vm):
            found = storage.locate(path)
            try:
                os.makedirs(os.path.dirname(found.local), exist_ok=True)
                with open(storage.locate(path).local, 'ab'):
                    found.volume.changed()
            except OSError as exc:
                raise WinError(getattr(exc, 'winerror', None) or 5,
                               path) from exc
        self.open(vm)

    def open(self, vm: Vm) -> None:
        """Keep the files of *vm* open; those that are gone are skipped."""
        storage = vm.host.storage
        if vm.guid not in self._held:
            self._held[vm.guid] = [
                storage.hold(path, write=True, share='read', owner='vmms')
                for path in names(vm) if storage.exists(path)]

    def close_all(self) -> None:
        """The management service stopped."""
        for held in self._held.values():
            for opened in held:
                opened.close()
        self._held.clear()

    def remove(self, vm: Vm) -> None:
        """Close and delete the files; those already gone are no error."""
        storage = vm.host.storage
        for held in self._held.pop(vm.guid, ()):
            held.close()
            try:
                found = storage.locate(held.path)
            except WinError:
                continue                # its storage is lost
            if found.exists:
                os.unlink(found.local)
                found.volume.changed()
                _tidy(os.path.dirname(found.local))

    def give_up(self, vm: Vm, heir: Vm) -> bool:
        """Close the files of *vm* if they are those of *heir*, too.

        Both hosts reach them at one path: on storage that they share.

        :returns: whether they are; they are not those of *vm* any more
        """
        mine, theirs = (
            # Cluster shared volumes are mounted in a folder of each host.
            [os.path.realpath(one.host.storage.locate(path).local)
             for path in names(one)] for one in (vm, heir))
        if mine != theirs:
            return False
        for held in self._held.pop(vm.guid, ()):
            held.close()
        return True

    def move(self, vm: Vm, before: list[str]) -> None:
        """Follow a changed ConfigurationDataRoot.

        :param before: :func:`names` before the change
        """
        if before == names(vm):
            return
        self.remove(vm)
        self.create(vm)


def _tidy(folder: str) -> None:
    """The folder of planned VMs goes with the last of them."""
    if os.path.basename(folder) == PLANNED_FOLDER and not (
            os.listdir(folder)):
        os.rmdir(folder)
