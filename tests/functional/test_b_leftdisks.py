# SPDX-License-Identifier: Apache-2.0
"""Evacuation of a server whose host died while a snapshot was made.

The files of the checkpoint hold what the guest wrote last, beside its own
disks and beside its volumes on SMB shares. libvhdi, which shares no code with
the simulator, reads what is left of them in the end.
"""

import contextlib
import ntpath
import os

import ddt
from nova import context
from nova import objects
import pyvhdi

from compute_hyperv import leftdisks
from compute_hyperv.sim import disks as sim_disks
from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import install
from tests.functional import base
from tests.functional import exports
from tests.functional import sweepcase
from tests.functional import test_b_crashevacuate
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
AT = 9 << 20
BEFORE, AFTER = b'before the checkpoint', b'after the checkpoint '
#: Where it is cut off, and whether Windows has merged a part by then.
KILLS = (('virtdisk.MergeVirtualDisk', True),
         ('*.avhdx.merging.part', False),
         ('virtdisk.MergeVirtualDisk', False),
         ('*.SetParentVirtualHardDisk', False),
         ('remove *.avhdx', False), ('*.DefineSystem', False))


class LeftDisksCase(volumecase.VolumeTestCase,
                    test_b_crashevacuate.EvacuateCrash):
    """A server with an SMB volume on HV1, which dies with a checkpoint."""

    def setUp(self):
        self.volume = None
        super().setUp()

    def boot_server(self):
        self.fabric.shares.add(exports.SHARE, 10 << 30)
        self.server = self.boot(
            self.glance.add_disk('vhdx', **GEN2), networks='auto',
            flavor_id=self.flavor(disk_gib=1, ephemeral_gib=1))
        self.volume = self.cinder.add_volume(kind=exports.SMB)
        self.attach(self.server, self.volume)

    def lose(self):
        self.computes['HV1'].stop()
        super().lose()

    def disks(self, server=None):
        vm = self.vm(server or self.api.get_server(self.server['id'])).vm
        return [disk for disk in guestdisks.of(vm)
                if disk.path and not disk.path.endswith('.iso')]

    def take_checkpoint(self, *names):
        """As a snapshot does, and an administrator."""
        utils = install.bound(self.host).utilsfactory.get_vmutils()
        for disk in self.disks():
            disk.write(AT, BEFORE)
            disk.write(2 * AT, BEFORE)
        for name in names or ('OpenStack snapshot',):
            utils.take_vm_snapshot(self.vm(self.server).vm.name, name)
        for disk in self.disks():
            disk.write(AT, AFTER)

    def left(self, ending='.avhdx'):
        """Local paths of the files of checkpoints, of the volume last."""
        own = self.instance_folder()
        found = [os.path.join(folder, name)
                 for folder in (own, self.volume.storage.folder)
                 if folder and os.path.isdir(folder)
                 for name in sorted(os.listdir(folder))
                 if name.endswith(ending)]
        return found

    def instance_folder(self):
        return None

    def resolver(self, child):
        """Finds parents, which lie beside the child or in the cache."""
        def resolve(path):
            beside = os.path.join(os.path.dirname(child),
                                  ntpath.basename(path))
            return (beside if os.path.exists(beside) else
                    self.fabric.host('HV2').storage.local(path))
        return resolve

    def part_of_a_merge(self, note):
        """What Windows may have got done of it: one write to the parent."""
        path = note.removesuffix(leftdisks.NOTE)
        resolve = self.resolver(path)
        with sim_disks.open_disk(path, writable=False,
                                 resolve=resolve) as child:
            parent = resolve(child.parent_path)
        with sim_disks.open_disk(parent, writable=True,
                                 resolve=resolve) as disk:
            disk.write(AT, AFTER[:7])

    def kill(self, match, partly):
        """Evacuate, and kill the target there."""
        with self.fabric.faults.failing(host='HV2', match=match, kill=True):
            self.evacuate()
            self.wait_for_named_death(match, 'HV2')
        if partly:
            self.part_of_a_merge(self.left(leftdisks.NOTE)[0])
        self.replace('HV2')
        self.assertEqual('ERROR', self.until(self.status, match))

    def content(self, path):
        """What libvhdi reads at the two places."""
        with contextlib.ExitStack() as stack:
            disk = self._opened(stack, path)
            return [disk.read_buffer_at_offset(len(AFTER), place)
                    for place in (AT, 2 * AT)]

    def _opened(self, stack, path):
        disk = pyvhdi.file()
        disk.open(path)
        stack.callback(disk.close)
        if disk.get_disk_type() == 4:
            disk.set_parent(self._opened(stack, self.resolver(path)(
                disk.get_parent_filename())))
        return disk

    def check_volume(self, host='HV2'):
        """Nothing is lost, and nothing left."""
        self.assertEqual([AFTER, BEFORE[:len(AFTER)]],
                         self.content(self.volume.storage.path))
        self.assertEqual([], self.left())
        self.assertEqual([], self.left(leftdisks.NOTE))
        self.assertEqual(host, self.api.get_server(
            self.server['id'])['OS-EXT-SRV-ATTR:host'])

    def start_anew(self):
        """The guest has all of it, and the disks' own files."""
        self.start('in the end')
        self.assertNotIn('avhdx', str([
            disk.path for disk in self.disks()]))

    def return_to_service(self):
        """HV1 was not that dead: it starts again."""
        self.force_down(False)
        self.replace('HV1')


class VolumeTest(LeftDisksCase):
    """Each host has its own instances; the volume's share is everybody's."""

    def test_what_was_written_to_a_volume_is_kept(self):
        """L102: two checkpoints, one of an administrator."""
        self.take_checkpoint('OpenStack snapshot', 'of an administrator')
        self.lose()
        self.assertEqual(2, len(self.left()))
        self.whole_evacuation()
        self.check_volume()
        self.start_anew()
        self.assertEqual(AFTER, self.drive_of(
            self.api.get_server(self.server['id']), self.volume).read(
                AT, len(AFTER)))


class UncertainFaultsTest(LeftDisksCase):
    """What the driver cannot tell it does not decide."""

    def refused(self, text):
        """The evacuation fails; what is there stays as it is."""
        before = self.left()
        self.evacuate()
        self.assertEqual('ERROR', self.until(self.status, text))
        fault = self.admin_api.get_server(self.server['id'])['fault']
        self.assertIn(text, fault['message'] + fault.get('details', ''))
        self.assertEqual(before, self.left())
        self.assertEqual([], self.left(leftdisks.NOTE))

    def test_what_is_not_certain_is_refused(self):
        """L102: people decide; afterwards it is evacuated."""
        self.take_checkpoint()
        path, = self.left()
        # The host is not dead: its VM has the file.
        self.computes['HV1'].stop()
        self.processes['HV1'].kill()
        self.force_down(True)
        self.refused('does the server still run elsewhere?')
        self.lose()
        # Another server has the volume, too.
        other = objects.BlockDeviceMapping(
            context.get_admin_context(), source_type='volume',
            destination_type='volume', volume_id=self.volume.id,
            instance_uuid=self.boot(
                self.glance.add_disk('vhdx', **GEN2), networks='none')['id'])
        other.create()
        self.refused('other servers have the volume')
        other.destroy()
        # Two files on one.
        folder, name = os.path.split(path)
        twin = os.path.join(folder, name.replace('_', '_0', 1))
        os.link(path, twin)
        self.refused('side by side')
        os.unlink(twin)
        # Somebody wrote to the volume since.
        self.volume.storage.write(3 * AT, AFTER)
        self.refused('was changed after the checkpoint')
        os.unlink(path)
        self.whole_evacuation()
        # What the volume's own file had, as somebody decided.
        self.assertEqual(BEFORE, self.volume.storage.read(AT, len(BEFORE)))
        self.start_anew()


class SharedCase(base.SharedInstances, LeftDisksCase):

    def instance_folder(self):
        storage = self.fabric.host('HV2').storage
        name = self.api.get_server(
            self.server['id'])['OS-EXT-SRV-ATTR:instance_name']
        return storage.local(rf'{self.SHARE}\{name}')

    def check_all(self, host='HV2'):
        self.check_volume(host)
        for name in ('root.vhdx', 'eph0.vhdx'):
            self.assertEqual(
                [AFTER, BEFORE[:len(AFTER)]],
                self.content(os.path.join(self.instance_folder(), name)),
                name)


@ddt.ddt
class SharedCrashFaultsTest(SharedCase):
    """The hosts share the servers' directories, too."""

    @ddt.data(*sweepcase.hands(len(KILLS) // 2, usual=1))
    def test_killed_merges_go_on(self, hand):
        """L102, A9: wherever it was cut off, the next one ends it."""
        self.take_checkpoint('OpenStack snapshot', 'of an administrator')
        self.lose()
        for kill in KILLS[hand::len(KILLS) // 2]:
            self.kill(*kill)
        self.whole_evacuation()
        self.check_all()
        self.start_anew()

    @ddt.data(*sweepcase.hands(2, usual=1))
    def test_old_host_goes_on(self, hand):
        """A9: it comes back, and its server is started there."""
        self.take_checkpoint('of an administrator')
        self.lose()
        self.kill(*KILLS[-hand])
        self.return_to_service()
        self.api.post_server_action(self.server['id'],
                                    {'reboot': {'type': 'HARD'}})
        self.until(lambda: self.status() == 'ACTIVE', 'ACTIVE')
        self.assertEqual([AFTER] * 3, [
            disk.read(AT, len(AFTER)) for disk in self.disks()])
        self.assertEqual([], self.left(leftdisks.NOTE))

    def test_old_host_merges_its_checkpoint(self):
        """A9: it comes back, with what a snapshot had left there."""
        self.take_checkpoint()
        self.lose()
        self.kill('virtdisk.MergeVirtualDisk', True)
        self.return_to_service()
        self.until(lambda: not self.left(), 'merged')
        self.check_all('HV1')
