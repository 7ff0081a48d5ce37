# SPDX-License-Identifier: Apache-2.0
"""The values that cross module borders: frozen, typed, checked once.

Quantities carry their unit in the name (``size_bytes``, ``memory_mib``).
A value that could not exist on a Hyper-V host cannot be built: the
constructors raise :class:`ValueError`.  Nothing here knows Nova, os-win,
files or time.
"""

from compute_hyperv.model.drives import CachedImage
from compute_hyperv.model.drives import DiskSpec
from compute_hyperv.model.drives import InstanceLayout
from compute_hyperv.model.drives import QosSpec
from compute_hyperv.model.drives import Slot
from compute_hyperv.model.drives import VhdInfo
from compute_hyperv.model.drives import VolumeSpec
from compute_hyperv.model.host import CpuFacts
from compute_hyperv.model.host import HostCaps
from compute_hyperv.model.host import HostFacts
from compute_hyperv.model.host import MachineLimits
from compute_hyperv.model.host import NumaNode
from compute_hyperv.model.host import VolumeFacts
from compute_hyperv.model.host import WindowsVersion
from compute_hyperv.model.instance import InstancePlan
from compute_hyperv.model.instance import NicSpec
from compute_hyperv.model.machine import CpuSpec
from compute_hyperv.model.machine import MachineSpec
from compute_hyperv.model.machine import MemorySpec
from compute_hyperv.model.machine import NumaSpec
from compute_hyperv.model.machine import SecuritySpec
from compute_hyperv.model.machine import SerialPortSpec
from compute_hyperv.model.moves import MovedDefinition
from compute_hyperv.model.moves import MovedDisk
from compute_hyperv.model.moves import MoveRecord
from compute_hyperv.model.values import BootDevice
from compute_hyperv.model.values import Bus
from compute_hyperv.model.values import CPU_LIMIT_NONE
from compute_hyperv.model.values import CPU_WEIGHT_DEFAULT
from compute_hyperv.model.values import DiskFormat
from compute_hyperv.model.values import DiskRole
from compute_hyperv.model.values import DiskSource
from compute_hyperv.model.values import DiskType
from compute_hyperv.model.values import DriveType
from compute_hyperv.model.values import Generation
from compute_hyperv.model.values import GIB
from compute_hyperv.model.values import IDE_CONTROLLERS
from compute_hyperv.model.values import IDE_LUNS
from compute_hyperv.model.values import KIB
from compute_hyperv.model.values import MIB
from compute_hyperv.model.values import OSType
from compute_hyperv.model.values import SCSI_CONTROLLERS
from compute_hyperv.model.values import SCSI_LUNS
from compute_hyperv.model.values import SERIAL_PORT_NUMBERS
from compute_hyperv.model.values import ShutdownAction

__all__ = (
    'BootDevice',
    'Bus',
    'CPU_LIMIT_NONE',
    'CPU_WEIGHT_DEFAULT',
    'CachedImage',
    'CpuFacts',
    'CpuSpec',
    'DiskFormat',
    'DiskRole',
    'DiskSource',
    'DiskSpec',
    'DiskType',
    'DriveType',
    'GIB',
    'Generation',
    'HostCaps',
    'HostFacts',
    'IDE_CONTROLLERS',
    'IDE_LUNS',
    'InstanceLayout',
    'InstancePlan',
    'KIB',
    'MIB',
    'MachineLimits',
    'MachineSpec',
    'MemorySpec',
    'MoveRecord',
    'MovedDefinition',
    'MovedDisk',
    'NicSpec',
    'NumaNode',
    'NumaSpec',
    'OSType',
    'QosSpec',
    'SCSI_CONTROLLERS',
    'SCSI_LUNS',
    'SERIAL_PORT_NUMBERS',
    'SecuritySpec',
    'SerialPortSpec',
    'ShutdownAction',
    'Slot',
    'VhdInfo',
    'VolumeFacts',
    'VolumeSpec',
    'WindowsVersion',
)
