# SPDX-License-Identifier: Apache-2.0
"""What each Windows Server version allows, and what we only believe.

Numbers and lists come from hyperv-semantics.md section 18, which quotes
Microsoft; the entries marked [F] there are field knowledge and live in
:class:`FieldKnowledge`, where a test can switch each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools

_TB_MIB = 1024 * 1024

_VERSIONS_2016 = ('5.0', '6.2', '7.0', '7.1', '8.0')
_VERSIONS_2019 = _VERSIONS_2016 + ('8.1', '8.2', '8.3', '9.0')
_VERSIONS_2022 = ('8.0', '8.1', '8.2', '8.3', '9.0', '9.1', '9.2', '9.3',
                  '10.0')
_VERSIONS_2025 = _VERSIONS_2022 + ('11.0', '12.0')

#: The version of a VM, not of the host, decides these (section 18).
FEATURE_VM_VERSION = {
    'production_checkpoint': (6, 2),
    'hot_memory': (6, 2),
    'linux_secure_boot': (6, 2),
    'tpm': (7, 0),
    'nested': (8, 0),
    'key_storage_drive': (8, 0),
    'large_vm': (8, 0),
    'many_nics': (8, 3),
    'smt': (9, 0),
    'hibernation': (9, 0),
    'pmu': (9, 0),
    'gpu_partition': (12, 0),
}


def version_tuple(version: str) -> tuple[int, ...]:
    """'10.0' -> (10, 0), so that versions compare as numbers."""
    return tuple(int(part) for part in version.split('.'))


@dataclasses.dataclass(kw_only=True, slots=True)
class FieldKnowledge:
    """Behaviour that was seen in the field but that nobody has published.

    A host carries one instance as ``host.quirks``; changing a field changes
    the host. Each default is what hyperv-semantics.md calls [F].
    """

    #: Invalid slots, parents and counts: 32773, or the DMTF code 4.
    invalid_parameter_code: int = 32773
    #: An off-only setting on a VM that is not off: return code.
    invalid_state_code: int = 5
    #: Adding and removing storage of a running VM answers 4096 and a job.
    running_storage_change_is_job: bool = True
    #: DestroySystem answers 4096 and a job.
    destroy_is_job: bool = True
    #: DefineSystem answers 4096 and a job.
    define_is_job: bool = False
    #: ModifySystemSettings and ModifyResourceSettings of a VM (not of a
    #: planned one) answer 4096 and a job.
    modify_is_job: bool = False
    #: The host closes the disks of a VM so long after it is off (seconds).
    file_release_delay_s: float = 0.0
    #: Settings that section 4 calls off-only are refused unless off.
    enforce_off_only: bool = True
    #: Nothing of a VM can be changed while it, or its storage, is moved.
    fixed_while_moving: bool = True
    #: A reference to an object of another class than the method's
    #: parameter is declared with: hresult of the x_wmi (section 19); 0
    #: leaves it to the method and its return code.
    wrong_reference_hresult: int = 0x80041008
    #: Cells of the table of power requests that answer otherwise:
    #: ``{'2:2': 0}`` answers 0 to a start of a running VM (section 2).
    power_answers: Mapping[str, int] = dataclasses.field(
        default_factory=dict)
    #: Automatic actions of a new VM: 3 restart if it ran, 3 save.
    default_startup_action: int = 3
    default_shutdown_action: int = 3
    #: A job can be ended only when its Cancellable says so (section 3).
    jobs_end_only_if_cancellable: bool = True
    #: What the host finds out about a file (missing, in use) is the error
    #: of a job; else AddResourceSettings itself answers 32768 (section 6).
    file_errors_are_jobs: bool = True
    #: A finished job can be read for this long (seconds).
    job_lifetime_s: float = 300.0
    #: Memory the hypervisor and the parent partition keep (MiB).
    host_reserve_mib: int = 1024
    #: What a running VM costs beyond its own memory (MiB).
    vm_overhead_mib: int = 0
    #: ErrorCode of a start without enough memory (section 5).
    out_of_memory_code: int = 32778
    #: Memory comes in steps of so many MiB, and at least so much.
    memory_step_mib: int = 2
    memory_minimum_mib: int = 32
    #: Minimum <= startup <= maximum memory; Weight 0..10000.
    memory_values_checked: bool = True
    #: While running, dynamic memory only lowers its minimum and raises
    #: its maximum (section 4).
    dynamic_memory_only_widens: bool = True
    #: A VM has no more virtual than the host logical processors; no
    #: document says so.
    vcpus_within_host: bool = True
    #: Generation 1 has DVD drives on IDE only; no document says so.
    scsi_dvd_needs_generation_2: bool = True
    #: Storage of a saved VM does not come and go (section 4).
    saved_keeps_storage: bool = True
    #: A disk of the host is offline before a VM gets it (section 6).
    passthrough_needs_offline: bool = True
    #: A disk whose parent is missing or another is refused when it is
    #: added; else when the VM starts (section 6).
    chains_checked_when_added: bool = True
    #: Checkpoints that the host took by itself are merged before their VM
    #: is destroyed (section 4).
    automatic_snapshots_merge: bool = True
    #: VMs go to their critical states when storage is lost (section 2
    #: names the states, not how soon they are reached).
    notices_lost_storage: bool = True
    #: A VHD (not VHDX) cannot be attached to a generation 2 VM.
    gen2_refuses_vhd: bool = True
    #: A drive that still holds a medium cannot be removed.
    drive_with_medium_is_kept: bool = True
    #: Changing a serial port of a running VM takes effect at once.
    serial_change_while_running: bool = True
    #: Soft shutdown of a guest without services: RPC style code 32775.
    shutdown_without_services_code: int = 32775
    #: A non-maskable interrupt for a VM that does not run.
    interrupt_not_running_code: int = 32775
    #: InjectNonMaskableInterrupt answers 4096 and a job.
    interrupt_is_job: bool = False
    #: What refuses a checkpoint of a running VM (section 8).
    checkpoint_refused_by: tuple[str, ...] = (
        'physical disk', 'assigned device', 'shared disk')
    #: ApplySnapshot needs the VM off or saved; else it is turned off.
    apply_needs_off: bool = True
    #: While disks are merged a VM is not destroyed and its disks are not
    #: resized (section 8).
    merge_blocks: bool = True
    #: Planned systems do not outlive the management service (section 10).
    planned_lost_at_restart: bool = True
    #: A VM whose GUID is registered is not imported; else it gets another.
    import_refuses_known_guid: bool = True
    #: What a migration is refused without, when it begins (section 11);
    #: what is not looked at may break it later.
    migration_needs: tuple[str, ...] = (
        'enabled', 'maximum', 'address', 'switch', 'files', 'remotefx',
        'memory', 'not paused')
    #: Metering goes on across a migration (section 12).
    metrics_move: bool = True
    #: The pipe of a COM port exists only while the VM runs (section 15).
    pipe_only_while_running: bool = True
    #: A VM's port of a switch exists only while it runs (section 16).
    port_only_while_running: bool = True
    #: A dynamic address is drawn at the first start (section 16).
    mac_at_first_start: bool = True
    #: An adapter's address changes only while the VM is off; no document
    #: says so.
    mac_fixed_unless_off: bool = True
    #: A static address may be in use by another adapter (section 16).
    equal_macs_allowed: bool = True
    #: Extended ACLs of one direction have different weights (section 16).
    acl_weights_unique: bool = True
    #: Offload settings go only with their port; no document says so.
    offload_settings_stay: bool = True
    #: Port of the RDP listener of the virtual machine connection service.
    vmconnect_port: int = 2179
    #: First six digits of dynamic MAC addresses.
    mac_prefix: str = '00155D'
    #: Startup memory of a new VM (MiB), 2016 and later; 512 on 2012 R2.
    default_memory_mib: int = 1024
    #: Both switch-port lists of single-instance features are enforced.
    single_instance_features: bool = True
    #: Absolute bandwidth reservations need the switch's mode and 10 Mbit/s.
    enforce_bandwidth_mode: bool = True
    #: The file of a running VM's VHDX on SCSI can be opened with every
    #: right, to resize it; all else with that handle is refused (32).
    vhdx_resizes_online: bool = True
    #: Facts of a virtual disk that somebody has open can be read.
    facts_of_disk_in_use: bool = True
    #: The disk file of a running VM cannot even be read by others.
    vm_disk_is_exclusive: bool = True
    #: A child is not reconnected to a parent with another identity.
    reconnect_checks_identity: bool = True
    #: Memory and disks of a VM cross the network so fast (MiB/s).
    migration_mib_per_s: float = 1000.0
    #: A disk that a VM uses counts as loaded (IsLoaded), as attached ones.
    vm_disk_is_loaded: bool = False
    #: A disk of a new path is claimed by multipath I/O after so many
    #: rescans of its own, with another number; 0: at once.
    mpio_claim_rescans: int = 0
    #: A VM cannot use a file over a share of its own host (L120).
    loopback_shares_refused: bool = True
    #: The mappings of a Fibre Channel adapter name the disks.
    hba_names_devices: bool = True
    #: A disk of the host that one VM has in its configuration cannot be
    #: added to another; else only running VMs are looked at.
    physical_disk_in_one_configuration: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One Windows Server version: what WMI reports and what it allows."""

    key: str                    #: '2022'
    caption: str
    version: str                #: Win32_OperatingSystem.Version
    vm_versions: tuple[str, ...]
    default_vm_version: str
    max_vcpus_gen1: int
    max_vcpus_gen2: int
    max_memory_mib_gen1: int
    max_memory_mib_gen2: int
    max_synthetic_nics: int     #: with a VM version that allows them
    #: Properties of virtualization/v2 that were added with Windows 10.
    is_2016: bool
    #: RemoteFX adapters: monitors by resolution number; empty when they
    #: cannot be added any more (section 14).
    remotefx_monitors: tuple[int, ...] = ()
    remotefx_generations: tuple[int, ...] = ()
    legacy_nics: int = 4
    scsi_controllers: int = 4
    scsi_slots: int = 64
    ide_slots: int = 2
    checkpoints: int = 50
    running_vms: int = 1024
    #: DDA devices of one VM (section 14).
    assigned_devices: int = 64
    #: What a host may have (section 18).
    logical_processors: int = 512
    memory_mib: int = 24 * _TB_MIB
    vcpus_in_use: int = 2048

    @property
    def build(self) -> int:
        """Last component of the version: 20348."""
        return int(self.version.rsplit('.', 1)[1])

    def max_vcpus(self, generation: int,
                  vm_version: str | None = None) -> int:
        """Virtual processors of one VM of *generation*.

        Large VMs need configuration version 8.0 (section 18).

        :param vm_version: by default the host's for new VMs
        """
        if generation == 1 or not self._large(vm_version):
            return self.max_vcpus_gen1
        return self.max_vcpus_gen2

    def max_memory_mib(self, generation: int,
                       vm_version: str | None = None) -> int:
        """Memory of one VM of *generation* in MiB; as max_vcpus."""
        if generation == 1 or not self._large(vm_version):
            return self.max_memory_mib_gen1
        return self.max_memory_mib_gen2

    def _large(self, vm_version: str | None) -> bool:
        return allows(vm_version or self.default_vm_version, 'large_vm')

    def max_nics(self, vm_version: str) -> int:
        """Synthetic adapters of a VM of *vm_version*.

        More than 8 need configuration version 8.3 (section 16).
        """
        if version_tuple(vm_version) < FEATURE_VM_VERSION['many_nics']:
            return min(8, self.max_synthetic_nics)
        return self.max_synthetic_nics

    def supports(self, vm_version: str) -> bool:
        """Whether a VM of that configuration version can run here."""
        return vm_version in self.vm_versions


def allows(vm_version: str, feature: str) -> bool:
    """Whether a VM of *vm_version* can have *feature*.

    :param feature: a key of :data:`FEATURE_VM_VERSION`
    """
    return version_tuple(vm_version) >= FEATURE_VM_VERSION[feature]


_profile = functools.partial(Profile, max_vcpus_gen1=64,
                             max_memory_mib_gen1=_TB_MIB, is_2016=True)

PROFILES: dict[str, Profile] = {each.key: each for each in (
    _profile(
        key='2012R2', caption='Microsoft Windows Server 2012 R2 Datacenter',
        version='6.3.9600', vm_versions=('5.0',),
        logical_processors=320, memory_mib=4 * _TB_MIB,
        default_vm_version='5.0', max_vcpus_gen2=64,
        max_memory_mib_gen2=_TB_MIB, max_synthetic_nics=8, is_2016=False,
        remotefx_monitors=(4, 4, 3, 2, 1), remotefx_generations=(1,)),
    _profile(
        key='2016', caption='Microsoft Windows Server 2016 Datacenter',
        version='10.0.14393', vm_versions=_VERSIONS_2016,
        default_vm_version='8.0', max_vcpus_gen2=240,
        max_memory_mib_gen2=12 * _TB_MIB, max_synthetic_nics=8,
        remotefx_monitors=(8, 8, 4, 4, 2, 1),
        remotefx_generations=(1, 2)),
    _profile(
        key='2019', caption='Microsoft Windows Server 2019 Datacenter',
        version='10.0.17763', vm_versions=_VERSIONS_2019,
        default_vm_version='9.0', max_vcpus_gen2=240,
        max_memory_mib_gen2=12 * _TB_MIB, max_synthetic_nics=64),
    _profile(
        key='2022', caption='Microsoft Windows Server 2022 Datacenter',
        version='10.0.20348', vm_versions=_VERSIONS_2022,
        logical_processors=1024, memory_mib=256 * _TB_MIB,
        default_vm_version='10.0', max_vcpus_gen2=1024,
        max_memory_mib_gen2=240 * _TB_MIB, max_synthetic_nics=64),
    _profile(
        key='2025', caption='Microsoft Windows Server 2025 Datacenter',
        version='10.0.26100', vm_versions=_VERSIONS_2025,
        logical_processors=2048, memory_mib=256 * _TB_MIB,
        default_vm_version='12.0', max_vcpus_gen2=2048,
        max_memory_mib_gen2=240 * _TB_MIB, max_synthetic_nics=64),
)}

_ALIASES = {'2012r2': '2012R2', '6.3': '2012R2', '2012 r2': '2012R2'}


def profile(windows: str) -> Profile:
    """The profile of a Windows Server release.

    :param windows: '2012R2', '2016', '2019', '2022' or '2025'
    :raises KeyError: another release
    """
    name = str(windows).strip()
    return PROFILES[_ALIASES.get(name.lower(), name)]
