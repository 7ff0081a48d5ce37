# SPDX-License-Identifier: Apache-2.0
"""What one host tells another about an instance that moves there cold."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import ntpath
import re
from typing import Any

from compute_hyperv.model.drives import Slot
from compute_hyperv.model.values import Bus
from compute_hyperv.model.values import DiskFormat
from compute_hyperv.model.values import DiskRole

_VERSION = 1
_ROLES = {'root': DiskRole.ROOT, 'swap': DiskRole.SWAP,
          'configdrive': DiskRole.CONFIG}
_EPHEMERAL = re.compile(r'eph\d+')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MovedDisk:
    """A local disk of an instance that moves."""

    file_name: str
    slot: Slot
    #: The cached image that it is a differencing disk of, on its own host
    #: and as other hosts reach it.
    parent_path: str | None = None
    parent_unc: str | None = None

    @property
    def role(self) -> DiskRole | None:
        """What it is for; None for a file that this driver did not make."""
        stem, extension = ntpath.splitext(self.file_name.lower())
        if stem == 'root' and extension == '.iso':
            return DiskRole.ISO
        if _EPHEMERAL.fullmatch(stem):
            return DiskRole.EPHEMERAL
        return _ROLES.get(stem)

    @property
    def format(self) -> DiskFormat:
        """By the file's extension."""
        return DiskFormat(ntpath.splitext(self.file_name)[1].lower()[1:])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MovedDefinition:
    """What Hyper-V exported of a VM, besides its disks."""

    file_name: str      #: the definition itself, ``<GUID>.vmcx`` or ``.xml``
    #: Names of all files, that one and those that belong to it.
    file_names: tuple[str, ...]
    version: str        #: configuration version, '10.0'
    #: It has a virtual TPM or key storage: a VM made anew lacks the keys.
    has_keys: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MoveRecord:
    """An instance that was put aside: where its files are, what was where."""

    host: str           #: name of the host
    directory: str      #: the files, as that host sees them
    unc: str            #: the same, as other hosts reach it
    disks: tuple[MovedDisk, ...]
    #: Volume id -> slot.
    volumes: collections.abc.Mapping[str, Slot]
    #: Names of all files, disks and others.
    file_names: tuple[str, ...] = ()
    #: None: the host's release exports none, the VM is made anew.
    definition: MovedDefinition | None = None
    #: Where the files have stayed, on storage that hosts share; None: they
    #: are in *directory*.
    home: str | None = None

    def to_json(self) -> str:
        """Text that :meth:`from_json` of this and later releases reads."""
        content = {
            'version': _VERSION, 'host': self.host, 'unc': self.unc,
            'directory': self.directory, 'file_names': self.file_names,
            'disks': [{'file_name': disk.file_name,
                       'slot': _slot_to_list(disk.slot),
                       'parent_path': disk.parent_path,
                       'parent_unc': disk.parent_unc}
                      for disk in self.disks],
            'volumes': {volume_id: _slot_to_list(slot)
                        for volume_id, slot in self.volumes.items()}}
        if self.home is not None:
            content['home'] = self.home
        if self.definition is not None:
            content['definition'] = dataclasses.asdict(self.definition)
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> MoveRecord:
        """Read what another release may have written.

        :raises ValueError: it is newer, or something else.
        """
        content = json.loads(text)
        version = content['version'] if isinstance(content, dict) else None
        if version != _VERSION:
            raise ValueError(f'version {version} of an instance that moves; '
                             f'this release knows {_VERSION}')
        return cls(
            host=content['host'], directory=content['directory'],
            unc=content['unc'], file_names=tuple(content['file_names']),
            disks=tuple(MovedDisk(
                file_name=disk['file_name'],
                slot=_slot_of_list(disk['slot']),
                parent_path=disk['parent_path'],
                parent_unc=disk['parent_unc'])
                for disk in content['disks']),
            volumes={volume_id: _slot_of_list(slot) for volume_id, slot
                     in content['volumes'].items()},
            definition=_definition_of(content.get('definition')),
            home=content.get('home'))


def _definition_of(content: Any) -> MovedDefinition | None:
    if content is None:
        return None
    return MovedDefinition(
        file_name=content['file_name'], version=content['version'],
        file_names=tuple(content['file_names']),
        has_keys=content['has_keys'])


def _slot_to_list(slot: Slot) -> list[Any]:
    return [slot.bus.value, slot.controller, slot.lun]


def _slot_of_list(items: list[Any]) -> Slot:
    bus, controller, lun = items
    return Slot(bus=Bus(bus), controller=controller, lun=lun)
