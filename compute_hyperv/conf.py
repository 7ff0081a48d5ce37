# SPDX-License-Identifier: Apache-2.0
"""Every option that this driver owns.

Nova dropped the groups ``[hyperv]`` and ``[rdp]`` together with its own
driver in 29.0.0, so they are registered here, with their old names.
"""

from typing import Any

from nova import conf as nova_conf
from oslo_config import cfg

CONF = nova_conf.CONF

hyperv_group = cfg.OptGroup(
    'hyperv', title='Hyper-V driver',
    help="Options of the compute driver for Windows Hyper-V hosts.")

rdp_group = cfg.OptGroup(
    'rdp', title='RDP console',
    help="Options of the RDP console of Hyper-V instances.")

coordination_group = cfg.OptGroup(
    'coordination', title='Distributed locks',
    help="Options of the locks that the nodes of a failover cluster, or "
         "hosts with a common image cache, share.")

_machine_opts = [
    cfg.FloatOpt(
        'dynamic_memory_ratio', default=1.0, min=1.0,
        help="Ratio between the memory of the flavor and what an instance "
             "has when it starts. With 1.0, the default, dynamic memory is "
             "off. With 2.0 an instance of 1024 MB starts with 512 MB and "
             "grows when the guest asks for more. Instances with a virtual "
             "NUMA topology or nested virtualization never use it."),
    cfg.BoolOpt(
        'limit_cpu_features', default=False,
        help="Hides CPU features that other hosts may lack, so that "
             "instances can migrate live between hosts with different "
             "processors of one vendor. It acts on instances created or "
             "resized afterwards."),
    cfg.BoolOpt(
        'instance_automatic_shutdown', default=False,
        help="Shuts instances down when the host shuts down. By default "
             "Hyper-V saves their memory instead, which takes disk space and "
             "time but keeps the guests' state. It acts on instances created "
             "or resized afterwards."),
    cfg.BoolOpt(
        'enable_remotefx', default=False,
        help="Has no effect in this release: flavors that ask for RemoteFX "
             "video adapters (os:resolution, os:monitors, os:vram) are "
             "refused. Windows Server removed RemoteFX with the security "
             "updates of July 2020."),
    cfg.BoolOpt(
        'enable_instance_metrics_collection', default=False,
        help="Lets Hyper-V collect CPU, memory, disk and network figures of "
             "each instance, for the diagnostics API and for Ceilometer's "
             "compute agent. It costs some CPU time of the host."),
]

_file_opts = [
    cfg.StrOpt(
        'instances_path_share', default='',
        help="Name of the Windows share of the directory instances_path, "
             "used by cold and live migration to copy files from host to "
             "host. If it is empty, the administrative share of the drive "
             "is used (C$), which needs the rights of an administrator "
             "there."),
    cfg.StrOpt(
        'qemu_img_cmd', default='qemu-img.exe',
        help="Command that converts images in the formats qcow2, raw and "
             "vmdk, and config drives. It is looked up in PATH unless it is "
             "a full path."),
    cfg.IntOpt(
        'qemu_img_timeout', default=7200, min=1,
        help="How many seconds the conversion of one image may take, see "
             "qemu_img_cmd. The default suffices for some hundred GiB on a "
             "slow share; a build whose conversion takes longer fails. "
             "Related: lock_timeout, for other builds with the same image "
             "wait that long."),
    cfg.BoolOpt(
        'config_drive_cdrom', default=False,
        help="Attaches the config drive as a CD instead of a small VHD."),
    cfg.BoolOpt(
        'config_drive_inject_password', default=False,
        help="Writes the administrator's password into the config drive. It "
             "stays readable there for every user of the guest."),
    cfg.BoolOpt(
        'move_disks_on_cold_migration', default=True,
        help="Copies the files of an instance that migrates cold to the "
             "target's instances_path even where both hosts see them by one "
             "path (an SMB share or a cluster shared volume). If it is off "
             "there, the target uses them where they are: that takes no time "
             "and no space, but a revert does not bring back what the guest "
             "has changed meanwhile. Files on a drive of the host are copied "
             "anyway, and so are all of them when a resize changes disks."),
    cfg.IntOpt(
        'lock_timeout', default=3600, min=1,
        help="How many seconds an operation waits for a lock that another "
             "one holds before it fails. The longest holder is a build that "
             "downloads and converts an image that is not in the cache; an "
             "hour leaves room for the largest ones."),
]

_network_opts = [
    cfg.StrOpt(
        'vswitch_name',
        help="Virtual switch that the NICs of instances are connected to. "
             "Without it, ports of the VIF type hyperv are left to the "
             "layer 2 agent of Neutron, which connects them to the switch of "
             "their physical network; ports of the type ovs need it."),
    cfg.StrOpt(
        'ovs_vsctl_cmd', default='ovs-vsctl.exe',
        help="Command that adds ports of the VIF type ovs to the bridge of "
             "Open vSwitch. It is looked up in PATH unless it is a full "
             "path."),
    cfg.IntOpt(
        'ovs_vsctl_timeout', default=120, min=1,
        help="How many seconds one call of ovs-vsctl may take, see "
             "ovs_vsctl_cmd."),
]

_power_opts = [
    cfg.IntOpt(
        'wait_soft_reboot_seconds', default=60, min=0,
        help="How many seconds a guest has for a soft reboot before the "
             "instance is reset."),
    cfg.IntOpt(
        'power_state_check_timeframe', default=1, min=1,
        help="How often, in seconds, Windows looks for instances whose power "
             "state changed. Compute drivers of other releases had 60 here; "
             "1 makes changes made outside Nova visible within 2 seconds and "
             "costs one comparison on the host, not a query per instance. "
             "Related: power_state_event_polling_interval."),
    cfg.IntOpt(
        'power_state_event_polling_interval', default=2, min=1,
        help="How many seconds the service waits for such a change before "
             "it looks whether it has to stop."),
    cfg.IntOpt(
        'vm_operation_timeout', default=1800, min=1,
        help="How many seconds Hyper-V may take for one change of the virtual "
             "machine of an instance (making, changing, starting, stopping, "
             "pausing, saving or removing it), before the operation fails "
             "and names what the host is doing. Saving much memory to a "
             "slow disk takes longest. Also how long the end of a live "
             "migration, or of a volume's copy, is waited for that failed "
             "and cannot be cancelled any more. Related: [os_win] "
             "wmi_job_terminate_timeout."),
    cfg.IntOpt(
        'snapshot_timeout', default=7200, min=1,
        help="How many seconds the copy of an instance's disk for a snapshot "
             "may take, and after it the merge of the checkpoint, before the "
             "snapshot fails. Related: vm_operation_timeout for making the "
             "checkpoint, lock_timeout for a deletion that waits."),
    cfg.IntOpt(
        'live_migration_timeout', default=0, min=0,
        help="How many seconds a live migration may take before it is "
             "cancelled and the instance goes on where it was; 0 for any "
             "time."),
    cfg.BoolOpt(
        'force_destroy_instances', default=False,
        help="Deletes instances without waiting for a running snapshot of "
             "them. The snapshot fails then."),
]

_volume_opts = [
    cfg.IntOpt(
        'mounted_disk_query_retry_count', default=10, min=0,
        help="How many times the host is asked for the disk of a volume that "
             "was just connected. Related: mounted_disk_query_retry_"
             "interval."),
    cfg.IntOpt(
        'mounted_disk_query_retry_interval', default=5, min=0,
        help="How many seconds pass between two such questions."),
    cfg.IntOpt(
        'volume_attach_retry_count', default=10, min=0,
        help="How many times attaching a volume is tried again when it "
             "fails."),
    cfg.IntOpt(
        'volume_attach_retry_interval', default=5, min=0,
        help="How many seconds pass between two attempts to attach a "
             "volume."),
    cfg.BoolOpt(
        'use_multipath_io', default=False,
        help="Connects iSCSI and Fibre Channel volumes over all their paths. "
             "Needs the Windows feature Multipath I/O, set up to claim the "
             "disks of the storage."),
    cfg.ListOpt(
        'iscsi_initiator_list', default=[],
        help="iSCSI initiators to use, one session each. If it is empty, "
             "Windows chooses one."),
    cfg.StrOpt(
        'rbd_cmd', default='rbd.exe',
        help="Command that maps the images of Ceph volumes as disks. It is "
             "looked up in PATH unless it is a full path."),
    cfg.StrOpt(
        'rbd_wnbd_cmd', default='rbd-wnbd.exe',
        help="Command that tells which disk a mapped image is, see "
             "rbd_cmd."),
]

#: There is no driver for failover clusters yet; configuration files that name
#: these options load.
_NOT_YET = ("Has no effect in this release, which has no driver for failover "
            "clusters. ")

_cluster_opts = [
    cfg.IntOpt(
        'evacuate_task_state_timeout', default=600, min=0,
        help=_NOT_YET + (
            "How many seconds maintenance mode waits for instances that "
            "are being evacuated or migrated.")),
    cfg.IntOpt(
        'cluster_event_check_interval', default=2, min=1,
        deprecated_for_removal=True,
        deprecated_reason="Changes of owner are delivered by the cluster and "
                          "no longer looked for.",
        help=_NOT_YET + (
            "How many seconds passed between two looks for failed-over "
            "instances.")),
    cfg.IntOpt(
        'instance_live_migration_timeout', default=300, min=0,
        help=_NOT_YET + (
            "How many seconds a live migration by the cluster may take.")),
    cfg.IntOpt(
        'max_failover_count', default=1, min=1,
        help=_NOT_YET + (
            "How many times the cluster moves a failed instance within "
            "the failover_period; then it stays where it is, in error.")),
    cfg.IntOpt(
        'failover_period', default=6, min=1,
        help=_NOT_YET + (
            "The period that max_failover_count refers to, in hours.")),
    cfg.BoolOpt(
        'recreate_ports_on_failover', default=True,
        help=_NOT_YET + (
            "Plugs the ports of an instance again after it failed over. "
            "Open vSwitch needs it.")),
    cfg.BoolOpt(
        'auto_failback', default=True,
        help=_NOT_YET + (
            "Lets the cluster move instances back to the host they failed "
            "over from, once that host is back.")),
]

hyperv_opts = (_machine_opts + _file_opts + _network_opts + _power_opts +
               _volume_opts + _cluster_opts)

rdp_opts = [
    cfg.BoolOpt(
        'enabled', default=False,
        help="Has no effect in this release, which offers no RDP consoles."),
    cfg.URIOpt(
        'html5_proxy_base_url', schemes=['http', 'https'],
        default='http://127.0.0.1:6083/',
        help="Has no effect in this release, which offers no RDP consoles. "
             "Address of the gateway that shows them in a browser."),
]

coordination_opts = [
    cfg.StrOpt(
        'backend_url', secret=True,
        help="Where nodes take the locks they share, as an address that tooz "
             "understands, for example etcd3+http://controller:2379 or "
             "file:///C:/OpenStack/Lock. Without it, lock files beside the "
             "image cache are used, which works across hosts when the cache "
             "lies on an SMB share or a cluster shared volume."),
]

_GROUPS = ((hyperv_group, hyperv_opts), (rdp_group, rdp_opts),
           (coordination_group, coordination_opts))


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register all options; doing it twice is harmless."""
    for group, opts in _GROUPS:
        conf.register_group(group)
        conf.register_opts(opts, group)


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """What oslo-config-generator writes into the sample file."""
    return [(group, list(opts)) for group, opts in _GROUPS]


register_opts(CONF)
