# SPDX-License-Identifier: Apache-2.0
"""virtdisk.dll under os-win's real VHDUtils.

Codes: Microsoft's pages of OpenVirtualDisk, CreateVirtualDisk etc. and
vhd-formats.md; what os-win ignores and expects: oswin-surface.md 7.2.
"""


import ddt

from compute_hyperv.sim import diskhandles
from compute_hyperv.sim import disks
from tests.unit.sim import onehost

GIB = 1 << 30
MIB = 1 << 20
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
BASE, CHILD, OTHER = 'C:\\d\\base.vhdx', 'C:\\d\\child.vhdx', 'C:\\d\\o.vhdx'


class VirtdiskCase(onehost.OneHostCase):

    def setUp(self):
        super().setUp()
        self.vhd = self.win.get_vhdutils()
        self.exceptions = self.oswin_module('os_win.exceptions')
        self.files.make_dirs('C:\\d')
        self.addCleanup(self.assert_nothing_open)

    def assert_nothing_open(self):
        self.assert_clean()

    def assert_code(self, code, call, *args, **kwargs):
        with self.assertRaises(self.exceptions.Win32Exception) as caught:
            call(*args, **kwargs)
        self.assertEqual(code, caught.exception.error_code)

    def chain(self):
        self.vhd.create_dynamic_vhd(BASE, 64 * MIB)
        self.write_to(BASE, 0, b'base' * 128)
        self.vhd.create_differencing_vhd(CHILD, BASE)

    def opened(self, path, writable=False):
        return disks.open_disk(
            self.storage.local(path), writable=writable, win_path=path,
            resolve=self.storage.local)

    def write_to(self, path, offset, data):
        with self.opened(path, writable=True) as disk:
            disk.write(offset, data)

    def read_from(self, path, offset, size):
        with self.opened(path) as disk:
            return disk.read(offset, size)


@ddt.ddt
class CreateTest(VirtdiskCase):

    @ddt.data(('vhd', FIXED, 2, 0), ('vhd', DYNAMIC, 2, 2 * MIB),
              ('vhdx', FIXED, 3, 32 * MIB), ('vhdx', DYNAMIC, 3, 32 * MIB))
    @ddt.unpack
    def test_disk_is_what_was_asked_for(self, suffix, kind, device, block):
        path = 'C:\\d\\disk.' + suffix
        self.vhd.create_vhd(path, kind, max_internal_size=64 * MIB)
        info = self.vhd.get_vhd_info(path)
        self.assertEqual(
            (64 * MIB, block, 512, kind, device, '', 0),
            tuple(info[name] for name in (
                'VirtualSize', 'BlockSize', 'SectorSize', 'ProviderSubtype',
                'DeviceId', 'ParentPath', 'IsLoaded')))
        self.assertEqual(self.files.size_bytes(path), info['PhysicalSize'])
        self.assertEqual(suffix.upper(), self.vhd.get_vhd_format(path))

    def test_child_names_its_parent(self):
        self.chain()
        self.assertEqual(BASE, self.vhd.get_vhd_parent_path(CHILD))
        self.assertEqual(DIFFERENCING, self.vhd.get_vhd_type(CHILD))
        info = self.vhd.get_vhd_info(CHILD, open_parents=True)
        self.assertEqual((BASE, 1), (info['ParentPath'],
                                     info['ParentResolved']))

    def test_moved_pair_still_finds_its_parent(self):
        self.chain()
        self.files.rename('C:\\d', 'C:\\moved')
        self.assertEqual('C:\\moved\\base.vhdx', self.vhd.get_vhd_parent_path(
            'C:\\moved\\child.vhdx'))

    def test_given_guid_is_the_disks(self):
        guid = '12345678-9abc-def0-1234-56789abcdef0'
        self.vhd.create_vhd(BASE, DYNAMIC, max_internal_size=MIB, guid=guid)
        first = self.opened(BASE)
        first.close()
        self.vhd.create_vhd(OTHER, DYNAMIC, max_internal_size=MIB)
        self.vhd.set_vhd_guid(OTHER, guid)
        with self.opened(OTHER) as second:
            self.assertEqual(first.id, second.id)

    @ddt.data(
        (80, 'C:\\d\\there.vhdx', {'max_internal_size': MIB}),
        (3, 'C:\\no\\x.vhdx', {'max_internal_size': MIB}),
        (87, OTHER, {}),
        (87, OTHER, {'max_internal_size': 1000}),
        (0xC03A0012, OTHER, {'max_internal_size': 1 << 50}),
        (0xC03A000D, OTHER, {'parent_path': 'C:\\d\\none.vhdx'}),
        (2, OTHER, {'src_path': 'C:\\d\\none.vhdx'}),
        (0xC03A0015, OTHER, {'src_path': 'C:\\d\\text.vhdx'}),
        (123, 'C:\\d\\a?.vhdx', {'max_internal_size': MIB}))
    @ddt.unpack
    def test_refusal_leaves_nothing(self, code, path, args):
        self.write('C:\\d\\there.vhdx')
        self.write('C:\\d\\text.vhdx', b'plain text')
        before = self.files.list_dir('C:\\d')
        self.assert_code(code, self.vhd.create_vhd, path, DYNAMIC, **args)
        self.assertEqual(before, self.files.list_dir('C:\\d'))

    def test_fixed_disk_needs_room(self):
        self.assert_code(112, self.vhd.create_vhd, 'D:\\x.vhd', FIXED,
                         max_internal_size=2 * GIB)
        self.vhd.create_vhd('D:\\x.vhd', DYNAMIC, max_internal_size=2 * GIB)
        self.assert_code(112, self.vhd.convert_vhd, 'D:\\x.vhd',
                         'D:\\y.vhdx', FIXED)
        self.assertEqual(['x.vhd'], self.files.list_dir('D:\\'))

    @ddt.data(('C:\\d\\c.vhd', DYNAMIC), ('C:\\d\\c.vhd', FIXED),
              ('C:\\d\\c.vhdx', FIXED))
    @ddt.unpack
    def test_conversion_flattens(self, target, kind):
        self.chain()
        self.write_to(CHILD, 40 * MIB, b'child' + bytes(507))
        self.vhd.convert_vhd(CHILD, target, kind)
        self.assertEqual(b'base' * 128, self.read_from(target, 0, 512))
        self.assertEqual(b'child', self.read_from(target, 40 * MIB, 5))
        self.assertEqual(kind, self.vhd.get_vhd_type(target))

    def test_flatten_takes_the_childs_place(self):
        self.chain()
        self.vhd.flatten_vhd(CHILD)
        self.assertEqual(DYNAMIC, self.vhd.get_vhd_type(CHILD))
        self.assertEqual(b'base', self.read_from(CHILD, 0, 4))


@ddt.ddt
class ChangeTest(VirtdiskCase):

    def test_disk_grows_by_virtual_and_by_file_size(self):
        self.vhd.create_dynamic_vhd(BASE, 64 * MIB)
        self.vhd.resize_vhd(BASE, GIB, is_file_max_size=False)
        self.assertEqual(GIB, self.vhd.get_vhd_size(BASE)['VirtualSize'])
        self.vhd.resize_vhd(BASE, 10 * GIB)
        # One block less than asked for: vhd-formats.md, section 1.
        self.assertEqual(10 * GIB - 32 * MIB,
                         self.vhd.get_vhd_size(BASE)['VirtualSize'])

    def test_merge_writes_into_the_parent_and_os_win_removes_the_child(self):
        self.chain()
        self.write_to(CHILD, 512, b'child' + bytes(507))
        self.vhd.merge_vhd(CHILD)
        self.assertEqual(['base.vhdx'], self.files.list_dir('C:\\d'))
        self.assertEqual(b'base' * 128 + b'child',
                         self.read_from(BASE, 0, 517))

    def test_merge_needs_the_parent_for_itself(self):
        self.chain()
        self.vhd.create_differencing_vhd(OTHER, BASE)
        hold = self.host.vdisks.hold(OTHER, owner='vm 1')
        self.assert_code(32, self.vhd.merge_vhd, CHILD)
        hold.close()
        self.assertTrue(self.files.exists(CHILD))

    def test_merge_of_a_disk_without_parent_is_refused(self):
        self.vhd.create_dynamic_vhd(BASE, MIB)
        self.assert_code(0xC03A001B, self.vhd.merge_vhd, BASE)

    def test_reconnect_to_the_moved_parent(self):
        self.chain()
        self.files.make_dirs('D:\\new')
        self.files.copy(BASE, 'D:\\new\\base.vhdx')
        self.files.remove(BASE)
        self.assert_code(0xC03A000D, self.vhd.get_vhd_info, CHILD,
                         open_parents=True)
        self.vhd.reconnect_parent_vhd(CHILD, 'D:\\new\\base.vhdx')
        self.assertEqual('D:\\new\\base.vhdx',
                         self.vhd.get_vhd_parent_path(CHILD))
        self.assertEqual(b'base', self.read_from(CHILD, 0, 4))

    def test_reconnect_to_a_stranger_is_refused(self):
        self.chain()
        self.vhd.create_dynamic_vhd(OTHER, 64 * MIB)
        self.assert_code(0xC03A000E, self.vhd.reconnect_parent_vhd, CHILD,
                         OTHER)
        self.assertEqual(BASE, self.vhd.get_vhd_parent_path(CHILD))

    @ddt.data(('base.vhd', b'', 0xC03A0015), ('x.vhdx', b'text', 0xC03A0015),
              ('x.vhd', b'text' * 200, 0xC03A0015))
    @ddt.unpack
    def test_open_of_what_is_no_disk(self, name, content, code):
        path = self.write('C:\\d\\' + name, content)
        self.assert_code(code, self.vhd.get_vhd_info, path)

    def test_content_decides_not_the_name(self):
        self.vhd.create_dynamic_vhd(BASE, MIB)
        self.files.rename(BASE, 'C:\\d\\x.vhd')
        self.assert_code(0xC03A0001, self.vhd.get_vhd_info, 'C:\\d\\x.vhd')

    @ddt.data(('C:\\d\\none.vhdx', 2), ('C:\\no\\none.vhdx', 3),
              (r'\\nowhere\s\x.vhdx', 53))
    @ddt.unpack
    def test_open_of_what_is_not_there(self, path, code):
        self.assert_code(code, self.vhd.get_vhd_info, path)


class AttachTest(VirtdiskCase):

    def setUp(self):
        super().setUp()
        self.disk = self.win.get_diskutils()
        self.chain()

    def test_attached_disk_is_a_physical_one(self):
        self.vhd.attach_virtual_disk(CHILD, read_only=False)
        path = self.vhd.get_virtual_disk_physical_path(CHILD)
        number = int(self.disk.get_device_number_from_device_name(path))
        self.assertEqual('\\\\.\\PhysicalDrive%d' % number, path)
        self.assertEqual(64 * MIB, self.disk.get_disk_size(number))
        self.assertEqual([CHILD], [
            one['location']
            for one in self.disk.get_attached_virtual_disk_files()])
        self.assertTrue(self.vhd.is_virtual_disk_file_attached(CHILD))
        self.vhd.detach_virtual_disk(CHILD)
        self.assertEqual([], self.disk.get_attached_virtual_disk_files())
        self.assertFalse(self.vhd.is_virtual_disk_file_attached(CHILD))

    def test_attached_disk_is_in_use(self):
        self.vhd.attach_virtual_disk(CHILD)
        self.assert_fails(32, self.files.remove, CHILD)
        self.assert_fails(32, self.files.remove, BASE)
        self.assert_code(32, self.vhd.resize_vhd, CHILD, GIB)
        self.vhd.detach_virtual_disk(CHILD)
        self.files.remove(CHILD)

    def test_attached_twice_is_refused(self):
        self.vhd.attach_virtual_disk(CHILD)
        self.assert_code(32, self.vhd.attach_virtual_disk, CHILD)
        self.vhd.detach_virtual_disk(CHILD)

    def test_detach_of_a_disk_that_is_not_attached_is_fine(self):
        self.vhd.detach_virtual_disk(CHILD)
        self.vhd.detach_virtual_disk('C:\\d\\none.vhdx')
        self.assert_code(21, self.vhd.get_virtual_disk_physical_path, CHILD)

    def test_disk_goes_with_its_handle(self):
        handle = self.vhd.attach_virtual_disk(CHILD,
                                              detach_on_handle_close=True)
        self.assertEqual(1, len(self.disk.get_attached_virtual_disk_files()))
        self.vhd.close(handle)
        self.assertEqual([], self.disk.get_attached_virtual_disk_files())

    def test_power_cut_detaches_and_closes(self):
        self.vhd.attach_virtual_disk(CHILD)
        self.assertEqual(['virtual disk left attached: ' + CHILD],
                         self.host.vdisks.problems())
        self.host.vdisks.power_cut()
        self.assertEqual([], self.disk.get_attached_virtual_disk_files())

    def test_process_that_ends_takes_its_attachments_along(self):
        number = self.host.port.call(
            'dll.virtdisk.OpenVirtualDisk', path=CHILD, device=3, flags=0,
            access=0x10000, client='nova')
        self.host.port.call('dll.virtdisk.AttachVirtualDisk', handle=number,
                            flags=diskhandles.ATTACH_READ_ONLY)
        self.host.vdisks.client_gone('nova')
        self.assertEqual([], self.disk.get_attached_virtual_disk_files())


@ddt.ddt
class HoldTest(VirtdiskCase):
    """Disks in use by virtual machines (hyperv-semantics.md, disks)."""

    def setUp(self):
        super().setUp()
        self.chain()

    def test_facts_of_a_disk_in_use_can_be_read(self):
        hold = self.host.vdisks.hold(CHILD, owner='vm 1')
        self.assertEqual(64 * MIB,
                         self.vhd.get_vhd_size(CHILD)['VirtualSize'])
        self.assertEqual(BASE, self.vhd.get_vhd_parent_path(CHILD))
        hold.close()

    def test_second_machine_gets_sharing_violation(self):
        hold = self.host.vdisks.hold(CHILD, owner='vm 1')
        self.assert_fails(32, self.host.vdisks.hold, CHILD, owner='vm 2')
        self.assert_code(32, self.vhd.resize_vhd, CHILD, GIB)
        hold.close()
        self.host.vdisks.hold(CHILD, owner='vm 2').close()

    def test_two_machines_share_a_parent_and_nobody_writes_it(self):
        self.vhd.create_differencing_vhd(OTHER, BASE)
        first = self.host.vdisks.hold(CHILD, owner='vm 1')
        second = self.host.vdisks.hold(OTHER, owner='vm 2')
        self.assert_fails(32, self.files.remove, BASE)
        self.assert_code(32, self.vhd.resize_vhd, BASE, GIB)
        self.files.copy(BASE, 'D:\\copy.vhdx')
        first.close()
        second.close()
        self.vhd.resize_vhd(BASE, GIB)

    def test_shared_disk_is_used_by_two_machines(self):
        first = self.host.vdisks.hold(BASE, owner='vm 1', shared=True)
        self.host.vdisks.hold(BASE, owner='vm 2', shared=True).close()
        first.close()

    def test_broken_chain_cannot_be_used(self):
        self.files.remove(BASE)
        self.assert_fails(0xC03A000D, self.host.vdisks.hold, CHILD,
                          owner='vm 1')
        self.assert_fails(2, self.host.vdisks.hold, BASE, owner='vm 1')

    def test_iso_is_read_by_many(self):
        self.write('C:\\d\\a.iso', b'iso' * 1000)
        first = self.host.vdisks.hold('C:\\d\\a.iso', owner='vm 1')
        second = self.host.vdisks.hold('C:\\d\\a.iso', owner='vm 2')
        self.assert_fails(32, self.files.remove, 'C:\\d\\a.iso')
        first.close()
        second.close()


class FieldKnowledgeTest(VirtdiskCase):
    """What only a real host can settle can be switched over."""

    def setUp(self):
        super().setUp()
        self.chain()
        self.quirks = self.host.quirks

    def test_facts_of_disk_in_use(self):
        self.quirks.facts_of_disk_in_use = False
        hold = self.host.vdisks.hold(CHILD, owner='vm 1')
        self.assert_code(32, self.vhd.get_vhd_size, CHILD)
        hold.close()
        self.vhd.get_vhd_size(CHILD)

    def test_vm_disk_is_exclusive(self):
        for exclusive in (True, False):
            self.quirks.vm_disk_is_exclusive = exclusive
            hold = self.host.vdisks.hold(CHILD, owner='vm 1')
            if exclusive:
                self.assert_fails(32, self.read, CHILD)
            else:
                self.read(CHILD)
            self.assert_fails(32, self.files.remove, CHILD)
            hold.close()

    def test_reconnect_checks_identity(self):
        self.vhd.create_dynamic_vhd(OTHER, 64 * MIB)
        self.quirks.reconnect_checks_identity = False
        self.vhd.reconnect_parent_vhd(CHILD, OTHER)
        self.assertEqual(OTHER, self.vhd.get_vhd_parent_path(CHILD))

    def test_vm_disk_is_loaded(self):
        hold = self.host.vdisks.hold(CHILD, owner='vm 1')
        self.assertFalse(self.vhd.is_virtual_disk_file_attached(CHILD))
        self.quirks.vm_disk_is_loaded = True
        self.assertTrue(self.vhd.is_virtual_disk_file_attached(CHILD))
        hold.close()
