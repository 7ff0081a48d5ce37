# SPDX-License-Identifier: Apache-2.0
"""The resources a Hyper-V VM is made of: names, numbers, identities.

Sources: hyperv-semantics.md sections 1 (identities), 4 (default devices)
and 6 (storage). ResourceType numbers are those of CIM.
"""

from __future__ import annotations

import dataclasses
import typing
import uuid

HV = 'Microsoft:Hyper-V:'

#: ResourceSubType values that the code tests for.
SCSI_CONTROLLER = HV + 'Synthetic SCSI Controller'
IDE_CONTROLLER = HV + 'Emulated IDE Controller'
FLOPPY_CONTROLLER = HV + 'Diskette Controller'
FLOPPY_DRIVE = HV + 'Synthetic Diskette Drive'
DISK_DRIVE = HV + 'Synthetic Disk Drive'
DVD_DRIVE = HV + 'Synthetic DVD Drive'
PHYSICAL_DISK = HV + 'Physical Disk Drive'
PHYSICAL_DVD = HV + 'Physical DVD Drive'
HARD_DISK = HV + 'Virtual Hard Disk'
DVD_MEDIUM = HV + 'Virtual CD/DVD Disk'
FLOPPY_MEDIUM = HV + 'Virtual Floppy Disk'
SERIAL_CONTROLLER = HV + 'Serial Controller'
SERIAL_PORT = HV + 'Serial Port'
S3_DISPLAY = HV + 'S3 Display Controller'
SYNTHETIC_DISPLAY = HV + 'Synthetic Display Controller'
DISPLAY_3D = HV + 'Synthetic 3D Display Controller'
SYNTHETIC_NIC = HV + 'Synthetic Ethernet Port'
EMULATED_NIC = HV + 'Emulated Ethernet Port'
ETHERNET_CONNECTION = HV + 'Ethernet Connection'
MEMORY = HV + 'Memory'
PROCESSOR = HV + 'Processor'
KEYBOARD = HV + 'Emulated Keyboard'
PS2_MOUSE = HV + 'Emulated Mouse'
SYNTHETIC_MOUSE = HV + 'Synthetic Mouse'
PCI_EXPRESS = HV + 'Virtual Pci Express Port'

REALIZED = HV + 'System:Realized'
PLANNED = HV + 'System:Planned'
SNAPSHOT = HV + 'Snapshot:Realized'
RECOVERY_SNAPSHOT = HV + 'Snapshot:Recovery'
SNAPSHOT_MISSING = HV + 'Snapshot:Missing'
DEFINITION = HV + 'System:Definition'
GENERATION = {HV + 'SubType:1': 1, HV + 'SubType:2': 2}

RASD = 'Msvm_ResourceAllocationSettingData'
SASD = 'Msvm_StorageAllocationSettingData'
NIC = 'Msvm_SyntheticEthernetPortSettingData'
LEGACY_NIC = 'Msvm_EmulatedEthernetPortSettingData'
PORT = 'Msvm_EthernetPortAllocationSettingData'
SERIAL = 'Msvm_SerialPortSettingData'
PCI = 'Msvm_PciExpressSettingData'

#: Device specific identities (section 1).
IDE_GUID = '83F8638B-8DCA-4152-9EDA-2CA8B33039B4'
MEMORY_GUID = '4764334d-e001-4176-82ee-5594ec9b530e'
PROCESSOR_GUID = 'b637f346-6a0e-4dec-af52-bd70cb80a21d'
SERIAL_GUID = '8E3A359F-559A-4B6A-98A9-1690A6100ED7'
FLOPPY_GUID = '8F0D2762-0B00-4E04-AF4F-19010527CB93'
KEYBOARD_GUID = 'DE6CDC86-E1FB-4940-801B-C3C1A26C4DA4'
PS2_GUID = '655BC5C5-A784-46B7-81BC-E26328F7EB0E'
S3_GUID = '7D80D3DB-61EE-4879-8879-5609F1100AD0'
MOUSE_GUID = '58F75A6D-D949-4320-99E1-A2A2576D581C'
DISPLAY_GUID = 'F3CF6965-E8D3-44A9-9B7D-A04245EA7525'
SECURITY_GUID = 'B1B5F4AC-FD2D-4C46-9C0B-2D1D4AFA3E1C'
GPU_GUID = '0A1C5A0A-7A8C-4D5C-8E2B-6F3D1C9B0E77'
PCI_GUID = '44D0FD7A-2C5C-4E3A-A9F1-6AC25C4F8D1E'

DRIVES = frozenset((DISK_DRIVE, DVD_DRIVE, PHYSICAL_DISK, PHYSICAL_DVD))
MEDIA = {HARD_DISK: DISK_DRIVE, DVD_MEDIUM: DVD_DRIVE,
         FLOPPY_MEDIUM: FLOPPY_DRIVE}
#: Address of the emulated display adapter (oswin-surface.md 3.3).
S3_ADDRESS = '5353,00000000,00'


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """A resource that can be added: class, subtype and its defaults."""

    cls: str
    subtype: str
    resource_type: int
    name: str
    defaults: dict[str, typing.Any] = dataclasses.field(
        default_factory=dict)

    def instance_id(self, kind: str = 'Default') -> str:
        r"""``Microsoft:Definition\<GUID>\Default`` (section 1).

        The GUID is made from class and subtype: the same on every host.

        :param kind: one of :data:`DEFINITIONS`
        """
        guid = uuid.uuid5(uuid.NAMESPACE_OID, self.cls + self.subtype)
        return 'Microsoft:Definition\\%s\\%s' % (str(guid).upper(), kind)

    def props(self) -> dict[str, typing.Any]:
        """Properties of the template's record, without InstanceID."""
        return dict(ElementName=self.name, ResourceType=self.resource_type,
                    ResourceSubType=self.subtype, **self.defaults)


#: The definitions of each kind of resource.
DEFINITIONS = ('Default', 'Minimum', 'Maximum', 'Increment')

_COUNT = {'VirtualQuantity': 1, 'Reservation': 1, 'Limit': 1, 'Weight': 0,
          'VirtualQuantityUnits': 'count', 'AllocationUnits': 'count',
          'AutomaticAllocation': True, 'AutomaticDeallocation': True,
          'ConsumerVisibility': 3, 'PoolID': ''}
_DISK = dict(_COUNT, IOPSLimit=0, IOPSReservation=0, Access=3,
             PersistentReservationsSupported=False, CachingMode=0,
             WriteHardeningMethod=0, IgnoreFlushes=False,
             StorageQoSPolicyID='00000000-0000-0000-0000-000000000000',
             HostResource=(), VirtualResourceBlockSize=512)
_DISPLAY = dict(_COUNT, ResolutionType=3, HorizontalResolution=1920,
                VerticalResolution=1080)

#: Every resource that has a Default definition.
TEMPLATES: tuple[Template, ...] = (
    Template(RASD, SCSI_CONTROLLER, 6, 'SCSI Controller', _COUNT),
    Template(RASD, IDE_CONTROLLER, 5, 'IDE Controller', _COUNT),
    Template(RASD, FLOPPY_CONTROLLER, 1, 'Diskette Controller', _COUNT),
    Template(RASD, FLOPPY_DRIVE, 14, 'Diskette Drive', _COUNT),
    Template(RASD, DISK_DRIVE, 17, 'Hard Drive', _COUNT),
    Template(RASD, DVD_DRIVE, 16, 'DVD Drive', _COUNT),
    Template(RASD, PHYSICAL_DISK, 17, 'Hard Drive', _COUNT),
    Template(RASD, PHYSICAL_DVD, 16, 'DVD Drive', _COUNT),
    Template(RASD, SERIAL_CONTROLLER, 1, 'Serial Controller', _COUNT),
    Template(RASD, S3_DISPLAY, 24, 'Display Controller', _COUNT),
    Template(SASD, HARD_DISK, 31, 'Hard Disk Image', _DISK),
    Template(SASD, DVD_MEDIUM, 31, 'ISO Disk Image', _DISK),
    Template(SASD, FLOPPY_MEDIUM, 31, 'Floppy Disk Image', _DISK),
    Template(NIC, SYNTHETIC_NIC, 10, 'Network Adapter',
             dict(_COUNT, StaticMacAddress=False, ClusterMonitored=True,
                  Address='000000000000', DeviceNamingEnabled=False,
                  AllowPacketDirect=False, VirtualSystemIdentifiers=())),
    Template(LEGACY_NIC, EMULATED_NIC, 10, 'Legacy Network Adapter',
             dict(_COUNT, StaticMacAddress=False, ClusterMonitored=True,
                  Address='000000000000')),
    Template(PORT, ETHERNET_CONNECTION, 33, 'Dynamic Ethernet Switch Port',
             dict(_COUNT, EnabledState=2, HostResource=(), Address='')),
    Template('Msvm_SyntheticDisplayControllerSettingData',
             SYNTHETIC_DISPLAY, 24, 'Display Controller', _DISPLAY),
    Template('Msvm_Synthetic3DDisplayControllerSettingData', DISPLAY_3D,
             24, 'RemoteFX 3D Video Adapter',
             dict(_COUNT, MaximumMonitors=1, MaximumScreenResolution=0)),
    Template(PCI, PCI_EXPRESS, 32769, 'Virtual PCI Express Port',
             dict(_COUNT, HostResource=(), VirtualFunctions=(0,))),
    Template('Msvm_MemorySettingData', MEMORY, 4, 'Memory', {}),
    Template('Msvm_ProcessorSettingData', PROCESSOR, 3, 'Processor', {}),
)

#: 2012 R2 keeps serial ports as plain RASDs, 2016 gave them a class.
SERIAL_TEMPLATES = {
    False: Template(RASD, SERIAL_PORT, 21, 'Serial Port',
                    dict(_COUNT, Connection=('',))),
    True: Template(SERIAL, SERIAL_PORT, 21, 'Serial Port',
                   dict(_COUNT, Connection=('',), DebuggerMode=False)),
}


def templates(is_2016: bool) -> tuple[Template, ...]:
    """All templates of a host of that age."""
    return TEMPLATES + (SERIAL_TEMPLATES[is_2016],)


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """A device every VM of a generation has from birth (section 4)."""

    cls: str
    suffix: str             #: below the VM's InstanceID
    subtype: str
    resource_type: int
    name: str
    props: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    parent: str = ''        #: suffix of the parent device


def _serial(is_2016: bool) -> list[Device]:
    cls = SERIAL if is_2016 else RASD
    extra = {'DebuggerMode': False} if is_2016 else {}
    ports = [Device(cls, '%s\\%d' % (SERIAL_GUID, number), SERIAL_PORT, 21,
                    'COM %d' % (number + 1),
                    dict(_COUNT, Connection=('',), **extra), SERIAL_GUID)
             for number in (0, 1)]
    return [Device(RASD, SERIAL_GUID, SERIAL_CONTROLLER, 1,
                   'Serial Controller', _COUNT)] + ports


def _common(is_2016: bool) -> list[Device]:
    return _serial(is_2016) + [
        Device(RASD, MOUSE_GUID, SYNTHETIC_MOUSE, 13, 'Mouse', _COUNT),
        Device('Msvm_SyntheticDisplayControllerSettingData', DISPLAY_GUID,
               SYNTHETIC_DISPLAY, 24, 'Display Controller', _DISPLAY),
    ]


def _generation_1() -> list[Device]:
    ide = [Device(RASD, '%s\\%d' % (IDE_GUID, number), IDE_CONTROLLER, 5,
                  'IDE Controller %d' % number,
                  dict(_COUNT, Address=str(number)))
           for number in (0, 1)]
    return ide + [
        Device(RASD, FLOPPY_GUID + '\\0', FLOPPY_CONTROLLER, 1,
               'Diskette Controller', _COUNT),
        Device(RASD, FLOPPY_GUID + '\\0\\0\\D', FLOPPY_DRIVE, 14,
               'Diskette Drive', dict(_COUNT, AddressOnParent='0'),
               FLOPPY_GUID + '\\0'),
        Device(RASD, KEYBOARD_GUID + '\\Keyboard', KEYBOARD, 13,
               'Keyboard', _COUNT),
        Device(RASD, PS2_GUID + '\\Mouse', PS2_MOUSE, 13, 'PS/2 Mouse',
               _COUNT),
        Device(RASD, S3_GUID, S3_DISPLAY, 24, 'Display Controller',
               dict(_COUNT, Address=S3_ADDRESS)),
    ]


def default_devices(generation: int, is_2016: bool) -> list[Device]:
    """What DefineSystem creates besides memory and processor.

    :param generation: 1 or 2
    :param is_2016: whether serial ports have a class of their own
    """
    emulated = _generation_1() if generation == 1 else []
    return emulated + _common(is_2016)


#: Integration components: setting class, device class, name (section 15).
COMPONENTS: tuple[tuple[str, str, str, str], ...] = (
    ('Msvm_ShutdownComponentSettingData', 'Msvm_ShutdownComponent',
     '9F8233AC-BE49-4C79-8EE3-E7E1985B2077', 'Shutdown'),
    ('Msvm_TimeSyncComponentSettingData', 'Msvm_TimeSyncComponent',
     '2497F4DE-E9FA-4204-80E4-4B75C46419C0', 'Time Synchronization'),
    ('Msvm_KvpExchangeComponentSettingData', 'Msvm_KvpExchangeComponent',
     '2A34B1C2-FD73-4043-8A5B-DD2159BC743F', 'Key-Value Pair Exchange'),
    ('Msvm_HeartbeatComponentSettingData', 'Msvm_HeartbeatComponent',
     '84EAAE65-2F2E-45F5-9BB5-0E857DC8EB47', 'Heartbeat'),
    ('Msvm_VssComponentSettingData', 'Msvm_VssComponent',
     '5CED1297-4598-4915-A5FC-AD21BB4D02A4', 'VSS'),
    ('Msvm_RdvComponentSettingData', 'Msvm_RdvComponent',
     '00000000-0000-0000-0000-000000000000', 'Remote Desktop'),
    ('Msvm_GuestServiceInterfaceComponentSettingData',
     'Msvm_GuestServiceInterfaceComponent',
     '6C09BB55-D683-4DA0-8931-C9BF705F6480', 'Guest Service Interface'),
)


def new_guid() -> str:
    """A fresh GUID in Hyper-V's spelling: upper case, no braces."""
    return str(uuid.uuid4()).upper()
