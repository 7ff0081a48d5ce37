# SPDX-License-Identifier: Apache-2.0
"""Controller slots of one VM, given out once each."""

from __future__ import annotations

import collections.abc

from nova import exception

from compute_hyperv import model
from compute_hyperv.plan import request as req


class Slots:
    """The slots of a VM that are still free.

    Generation 1 has two IDE controllers of two slots and boots from the
    first; both generations have one SCSI controller of 64 slots.
    """

    def __init__(self, generation: model.Generation,
                 caps: model.HostCaps,
                 taken: collections.abc.Iterable[model.Slot] = ()) -> None:
        self._generation = generation
        self._all: dict[model.Bus, tuple[model.Slot, ...]] = {
            model.Bus.SCSI: tuple(
                model.Slot(bus=model.Bus.SCSI, controller=0, lun=lun)
                for lun in range(caps.scsi_luns))}
        if generation is model.Generation.ONE:
            self._all[model.Bus.IDE] = tuple(
                model.Slot(bus=model.Bus.IDE, controller=controller, lun=lun)
                for controller in range(model.IDE_CONTROLLERS)
                for lun in range(caps.ide_luns))
        self._taken = set(taken)

    @property
    def buses(self) -> tuple[model.Bus, ...]:
        """The buses of this generation; the one that boots comes first."""
        return tuple(sorted(self._all, key=lambda bus: bus.value))

    @property
    def boot_bus(self) -> model.Bus:
        """The bus that the firmware can boot from."""
        return self.buses[0]

    def data_bus(self, asked: object, drive: str) -> model.Bus:
        """The bus of a disk that nothing boots from.

        :param asked: what the user wants; SCSI if nothing.
        :param drive: what it is for, for the message.
        :raises nova.exception.InvalidInput: this generation lacks it.
        """
        if not asked:
            return model.Bus.SCSI
        for bus in self.buses:
            if bus.value == asked:
                return bus
        allowed = ', '.join(bus.value for bus in self.buses)
        raise self.bad_bus(str(asked), drive, allowed)

    def bad_bus(self, bus: str, drive: str,
                allowed: str) -> exception.InvalidInput:
        """The refusal of a bus."""
        return req.conflict(
            f'disk_bus={bus} of {drive}; allowed for generation '
            f'{self._generation.value}: {allowed}')

    def reserve(self, slot: model.Slot) -> model.Slot:
        """Keep a particular slot; it must be free.

        :raises KeyError: the slot is taken or the VM has none such.
        """
        if slot in self._taken or slot not in self._all.get(slot.bus, ()):
            raise KeyError(slot)
        self._taken.add(slot)
        return slot

    def take(self, bus: model.Bus, drive: str) -> model.Slot:
        """The first free slot of a bus.

        :param drive: what it is for, for the message.
        :raises nova.exception.TooManyDiskDevices: there is none left.
        """
        for slot in self._all.get(bus, ()):
            if slot not in self._taken:
                return self.reserve(slot)
        maximum = len(self._all.get(bus, ()))
        raise exception.TooManyDiskDevices(
            f'No free {bus.value} slot is left for {drive}: a generation '
            f'{self._generation.value} VM has {maximum}')
