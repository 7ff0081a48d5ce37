# SPDX-License-Identifier: Apache-2.0
"""virtdisk.dll in calls that os-win does not make.

Codes and conventions: Microsoft's pages of OpenVirtualDisk,
GetVirtualDiskInformation, AttachVirtualDisk.
"""

import ctypes

import ddt

from tests.unit.sim import test_dll_virtdisk as virtdisk

MIB, GIB = virtdisk.MIB, virtdisk.GIB
BASE, CHILD = virtdisk.BASE, virtdisk.CHILD


class RawCase(virtdisk.VirtdiskCase):
    """The DLL itself, with os-win's structures."""

    def setUp(self):
        super().setUp()
        self.vhd.create_dynamic_vhd(BASE, MIB)
        self.dll = self.oswin_module(
            'os_win.utils.winapi.libs.virtdisk').lib_handle
        self.struct = self.oswin_module('os_win.utils.winapi.libs.virtdisk')

    def open_code(self, path, access, version=None, **options):
        """What OpenVirtualDisk returns; a handle is closed again."""
        params = None
        if version is not None:
            params = self.struct.OPEN_VIRTUAL_DISK_PARAMETERS(
                Version=version)
            for name, value in options.items():
                setattr(params.Version2, name, value)
            params = ctypes.byref(params)
        kind = self.struct.VIRTUAL_STORAGE_TYPE(DeviceId=3)
        handle = ctypes.c_void_p()
        code = self.dll.OpenVirtualDisk(ctypes.byref(kind), path, access, 0,
                                        params, ctypes.byref(handle))
        if not code:
            self.vhd.close(handle)
        return code


class RawCallsTest(RawCase):
    """Calls that os-win does not make."""

    def test_wrong_handle_is_invalid(self):
        self.assertEqual(6, self.dll.DetachVirtualDisk(0x1234, 0, 0))
        self.assertEqual(6, self.dll.DetachVirtualDisk(None, 0, 0))

    def test_unknown_kind_of_facts_is_an_invalid_parameter(self):
        handle = self.vhd._open(BASE)
        info = self.struct.GET_VIRTUAL_DISK_INFO(Version=99)
        size = ctypes.c_uint32(ctypes.sizeof(info))
        self.assertEqual(87, self.dll.GetVirtualDiskInformation(
            handle, ctypes.byref(size), ctypes.byref(info), None))
        self.vhd.close(handle)

    def test_small_buffers_are_insufficient(self):
        handle = self.vhd._open(BASE)
        info = self.struct.GET_VIRTUAL_DISK_INFO(Version=1)
        size = ctypes.c_uint32(8)
        self.assertEqual(122, self.dll.GetVirtualDiskInformation(
            handle, ctypes.byref(size), ctypes.byref(info), None))
        self.assertEqual(ctypes.sizeof(info), size.value)
        self.vhd.close(handle)

    def test_wrong_type_is_an_argument_error(self):
        with self.assertRaises(ctypes.ArgumentError):
            self.dll.ResizeVirtualDisk(1.5, 0, None, None)

    def test_resize_through_a_reading_handle_is_denied(self):
        handle = self.vhd._open(BASE, open_access_mask=0x80000)
        params = self.struct.RESIZE_VIRTUAL_DISK_PARAMETERS(Version=1)
        params.Version1.NewSize = GIB
        self.assertEqual(5, self.dll.ResizeVirtualDisk(
            handle, 0, ctypes.byref(params), None))
        self.vhd.close(handle)

    def test_partly_opened_chain_is_let_go(self):
        self.vhd.create_differencing_vhd(CHILD, BASE)
        blocker = self.storage.hold(BASE, write=True, share='readwrite')
        self.assertEqual(32, self.open_code(CHILD, 0x3F0000))
        blocker.close()
        self.assert_clean()


@ddt.ddt
class FactsTest(RawCase):
    """GetVirtualDiskInformation, also what os-win does not ask for."""

    def fact(self, path, version, flags=0, device=3):
        """Code of the call, and the structure."""
        handle = ctypes.c_void_p()
        kind = self.struct.VIRTUAL_STORAGE_TYPE(DeviceId=device)
        self.assertEqual(0, self.dll.OpenVirtualDisk(
            ctypes.byref(kind), path, 0x80000, flags, None,
            ctypes.byref(handle)))
        info = self.struct.GET_VIRTUAL_DISK_INFO(Version=version)
        size = ctypes.c_uint32(ctypes.sizeof(info))
        code = self.dll.GetVirtualDiskInformation(
            handle, ctypes.byref(size), ctypes.byref(info), None)
        self.vhd.close(handle)
        return code, info

    @ddt.data((7, 3), (8, 1), (10, 512), (13, 0))
    @ddt.unpack
    def test_number(self, version, value):
        code, info = self.fact(BASE, version)
        self.assertEqual((0, value), (code, info.ProviderSubtype))

    def test_identifiers(self):
        self.vhd.create_differencing_vhd(CHILD, BASE)
        own = bytes(self.fact(BASE, 2)[1].Identifier)
        self.assertEqual(own, bytes(self.fact(BASE, 14)[1].Identifier))
        self.assertEqual(own, bytes(self.fact(CHILD, 4)[1].ParentIdentifier))
        self.assertEqual(0xC03A001B, self.fact(BASE, 4)[0])

    def test_iso_has_a_size_and_no_kind(self):
        self.write('C:\\d\\a.iso', bytes(4096))
        code, info = self.fact('C:\\d\\a.iso', 1, device=1)
        self.assertEqual((0, 4096, 2048), (code, info.Size.VirtualSize,
                                           info.Size.SectorSize))
        self.assertEqual((0, 1), (
            self.fact('C:\\d\\a.iso', 6, device=1)[0],
            self.fact('C:\\d\\a.iso', 6,
                      device=1)[1].VirtualStorageType.DeviceId))
        self.assertEqual(50, self.fact('C:\\d\\a.iso', 7, device=1)[0])


@ddt.ddt
class OpenTest(RawCase):

    @ddt.data((0x80000, None, {}, 0), (0x3F0000, 1, {}, 0),
              (0x3F0000, 2, {}, 87), (0, 2, {}, 0),
              (0, 2, {'GetInfoOnly': 1}, 0), (0, 2, {'ReadOnly': 1}, 0),
              (0, 9, {}, 87))
    @ddt.unpack
    def test_versions_of_parameters(self, access, version, options, code):
        self.assertEqual(code, self.open_code(BASE, access, version,
                                              **options))

    def test_who_reads_facts_stands_in_nobodys_way(self):
        held = self.storage.hold(BASE, write=True, share='none')
        self.assertEqual([0, 32, 32], [
            self.open_code(BASE, 0, 2, GetInfoOnly=1),
            self.open_code(BASE, 0, 2, ReadOnly=1),
            self.open_code(BASE, 0, 2)])
        held.close()

    def test_other_vendor_or_device_has_no_provider(self):
        kind = self.struct.VIRTUAL_STORAGE_TYPE(DeviceId=7)
        handle = ctypes.c_void_p()
        self.assertEqual(0xC03A0014, self.dll.OpenVirtualDisk(
            ctypes.byref(kind), BASE, 0x80000, 0, None,
            ctypes.byref(handle)))
        kind.DeviceId, kind.VendorId.Data1 = 3, 1
        self.assertEqual(0xC03A0014, self.dll.OpenVirtualDisk(
            ctypes.byref(kind), BASE, 0x80000, 0, None,
            ctypes.byref(handle)))


class IsoTest(RawCase):

    def test_iso_is_attached_as_a_drive(self):
        self.write('C:\\d\\a.iso', bytes(4096))
        kind = self.struct.VIRTUAL_STORAGE_TYPE(DeviceId=1)
        handle = ctypes.c_void_p()
        self.assertEqual(5, self.dll.OpenVirtualDisk(
            ctypes.byref(kind), 'C:\\d\\a.iso', 0x3F0000, 0, None,
            ctypes.byref(handle)))
        self.assertEqual(0, self.dll.OpenVirtualDisk(
            ctypes.byref(kind), 'C:\\d\\a.iso', 0xD0000, 0, None,
            ctypes.byref(handle)))
        self.assertEqual(5, self.dll.AttachVirtualDisk(
            handle, None, 0, 0, None, None))
        self.assertEqual(0, self.dll.AttachVirtualDisk(
            handle, None, 1, 0, None, None))
        path = ctypes.create_unicode_buffer(64)
        size = ctypes.c_uint32(8)
        self.assertEqual(122, self.dll.GetVirtualDiskPhysicalPath(
            handle, ctypes.byref(size), path))
        self.assertEqual(0, self.dll.GetVirtualDiskPhysicalPath(
            handle, ctypes.byref(size), path))
        self.assertEqual('\\\\.\\CDROM0', path.value)
        self.vhd.close(handle)
        self.assertEqual([], self.host.vdisks.problems())
