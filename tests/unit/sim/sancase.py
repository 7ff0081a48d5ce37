# SPDX-License-Identifier: Apache-2.0
"""Base of the tests of the storage array: hosts, a target, os-win."""

import functools

import fixtures

from compute_hyperv.sim import guestdisks
from tests.unit.sim import onehost

MIB = 1 << 20
IQN = 'iqn.2010-10.org.openstack:volume-1'
OTHER_IQN = 'iqn.2010-10.org.openstack:volume-2'
PORTAL, SECOND = '127.0.0.10:3260', '127.0.0.11:3260'


class SanCase(onehost.OneHostCase):
    """``self.san`` with one target, whose unit 1 is ``self.lun``."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        self.san = self.fabric.san
        self.lun = self.san.create_lun('volume-1', 64 * MIB)
        self.san.create_target(IQN, [PORTAL, SECOND])
        self.san.map(IQN, 1, 'volume-1')

    @functools.cached_property
    def iscsi(self):
        return self.win.get_iscsi_initiator_utils()

    @functools.cached_property
    def disks(self):
        return self.win.get_diskutils()

    @functools.cached_property
    def vmutils(self):
        return self.win.get_vmutils()

    @functools.cached_property
    def exceptions(self):
        return self.oswin_module('os_win.exceptions')

    def log_in(self, iqn=IQN, portal=PORTAL, lun=1, **kwargs):
        self.iscsi.login_storage_target(lun, iqn, portal, **kwargs)

    def number(self, iqn=IQN, lun=1, **kwargs):
        """The disk's number, or None."""
        kwargs.setdefault('retry_attempts', 0)
        return self.iscsi.get_device_number_and_path(iqn, lun, **kwargs)[0]

    def assert_code(self, code, call, *args, **kwargs):
        with self.assertRaises(self.exceptions.Win32Exception) as caught:
            call(*args, **kwargs)
        self.assertEqual(hex(code), hex(caught.exception.error_code))

    def make_vm(self, name='vm'):
        """A generation 2 machine with a SCSI controller."""
        folder = 'C:\\VMs\\' + name
        self.files.make_dirs(folder)
        self.vmutils.create_vm(name, False, 2, folder, [name])
        self.vmutils.update_vm(name, 512, None, 1, None, False, 1.0)
        self.vmutils.create_scsi_controller(name)
        return self.host.vms.named(name)

    def attach(self, number, vm='vm', slot=0, serial='volume-1'):
        """Attach a disk of the host as the driver does."""
        self.vmutils.attach_volume_to_controller(
            vm, self.vmutils.get_vm_scsi_controller(vm), slot,
            self.vmutils.get_mounted_disk_by_drive_number(number),
            serial=serial)

    def power(self, state, vm='vm'):
        self.vmutils.set_vm_state(vm, state)

    def guest_disk(self, vm='vm', tag='volume-1'):
        return next(disk for disk in guestdisks.of(self.host.vms.named(vm))
                    if disk.tag == tag)
