# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds each object once and gives it what it needs.

The only place that reads option values; everything else takes them in its
constructor.
"""

import dataclasses
from typing import Any

from nova.compute import rpcapi
from nova.image import glance
from nova.network import neutron
from nova.scheduler.client import report
from nova.volume import cinder
from oslo_log import log as logging

from compute_hyperv import again
from compute_hyperv import arrivals
from compute_hyperv import checkpoints
from compute_hyperv import commands
from compute_hyperv import conf
from compute_hyperv import configdrive
from compute_hyperv.connectors import hostports
from compute_hyperv.console import serialconsoleops
from compute_hyperv.console import serialproxy
from compute_hyperv import diskops
from compute_hyperv import eventhandler
from compute_hyperv import heldvolumes
from compute_hyperv import hostnotes
from compute_hyperv import hostops
from compute_hyperv import hotplug
from compute_hyperv import imagecache
from compute_hyperv import images
from compute_hyperv import interrupted
from compute_hyperv import interruptedbooks
from compute_hyperv import interruptedlife
from compute_hyperv import interruptedlive
from compute_hyperv import interruptedmoves
from compute_hyperv import interruptedswap
from compute_hyperv import leftdisks
from compute_hyperv import livechecks
from compute_hyperv import livehost
from compute_hyperv import livemigrationops
from compute_hyperv import locks
from compute_hyperv import metricsops
from compute_hyperv import migrationops
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths
from compute_hyperv import plan
from compute_hyperv.plan import disks as plan_disks
from compute_hyperv.plan import machine as plan_machine
from compute_hyperv import powerops
from compute_hyperv import recovery
from compute_hyperv import rescueops
from compute_hyperv import sharedstorage
from compute_hyperv import snapshotops
from compute_hyperv import vifops
from compute_hyperv import vmnames
from compute_hyperv import vmops
from compute_hyperv import volumeops
from compute_hyperv import volumesnapshots
from compute_hyperv import volumeswap
from compute_hyperv import volumeusage
from compute_hyperv import volumewiring

LOG = logging.getLogger(__name__)
CONF = conf.CONF


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ops:
    """What the driver delegates to."""

    win: oswin.Win
    vms: vmops.VMOps
    power: powerops.PowerOps
    snapshots: snapshotops.SnapshotOps
    rescue: rescueops.RescueOps
    shared_storage: sharedstorage.SharedStorage
    arrivals: arrivals.Arrivals
    migration: migrationops.MigrationOps
    live: livemigrationops.LiveMigrationOps
    vifs: vifops.VifOps
    volumes: volumeops.VolumeOps
    held_volumes: heldvolumes.HeldVolumes
    volume_snapshots: volumesnapshots.VolumeSnapshots
    volume_swap: volumeswap.VolumeSwap
    volume_usage: volumeusage.VolumeUsage
    hotplug: hotplug.HotPlug
    host_ports: hostports.HostPorts
    console: serialconsoleops.SerialConsoleOps
    image_cache: imagecache.ImageCache
    host: hostops.HostOps
    metrics: metricsops.MetricsOps
    events: eventhandler.EventHandler
    recovery: recovery.Recovery
    interrupted: interrupted.Interrupted


def _paths(win: oswin.Win) -> paths.Paths:
    return paths.Paths(
        win.files, instances_path=CONF.instances_path,
        cache_dir_name=CONF.image_cache.subdirectory_name,
        longest_name=vmnames.longest(CONF.instance_name_template),
        busy_timeout_s=CONF.os_win.file_in_use_timeout)


def _locks(host_name: str, host_paths: paths.Paths) -> locks.Locks:
    cluster: locks.Backend = locks.FileBackend(host_paths.try_lock)
    if CONF.coordination.backend_url:
        cluster = locks.ToozBackend.connect(CONF.coordination.backend_url,
                                            host_name)
    return locks.Locks(locks.ProcessBackend(), cluster,
                       CONF.hyperv.lock_timeout)


def _hotplug(common: dict[str, Any]) -> hotplug.HotPlug:
    parts = {name: common[name] for name in ('vifs', 'volumes', 'locks')}
    return hotplug.HotPlug(**parts)


def _planner(caps: model.HostCaps, by_protocol: volumewiring.Connectors
             ) -> plan.Planner:
    shutdown = (model.ShutdownAction.SHUTDOWN
                if CONF.hyperv.instance_automatic_shutdown else None)
    return plan.Planner(caps, plan.PlanOptions(
        machine=plan_machine.MachineOptions(
            dynamic_memory_ratio=CONF.hyperv.dynamic_memory_ratio,
            limit_cpu_features=CONF.hyperv.limit_cpu_features,
            shutdown_action=shutdown),
        disks=plan_disks.DiskOptions(
            use_cow_images=CONF.use_cow_images,
            config_drive_cdrom=CONF.hyperv.config_drive_cdrom,
            config_drive_format=CONF.config_drive_format,
            volumes=volumewiring.protocols(by_protocol)),
        vswitch_name=CONF.hyperv.vswitch_name))


def _console(win: oswin.Win, host_paths: paths.Paths
             ) -> serialconsoleops.SerialConsoleOps:
    pool = None
    if CONF.serial_console.enabled:
        pool = serialproxy.PortPool(CONF.serial_console.proxyclient_address,
                                    CONF.serial_console.port_range)
    return serialconsoleops.SerialConsoleOps(win=win, paths=host_paths,
                                             pool=pool)


def _vifs(win: oswin.Win, virtapi: Any) -> vifops.VifOps:
    return vifops.VifOps(
        win=win, virtapi=virtapi, vswitch=CONF.hyperv.vswitch_name,
        plug_timeout_s=CONF.vif_plugging_timeout,
        plug_is_fatal=CONF.vif_plugging_is_fatal,
        ovs_vsctl=CONF.hyperv.ovs_vsctl_cmd,
        ovs_timeout_s=CONF.hyperv.ovs_vsctl_timeout)


def _host(win: oswin.Win, host_paths: paths.Paths) -> hostops.HostOps:
    return hostops.HostOps(
        win, host_paths, my_ip=CONF.my_ip,
        reserved_cpus=CONF.reserved_host_cpus,
        reserved_memory_mib=CONF.reserved_host_memory_mb)


def _checkpoints(win: oswin.Win) -> checkpoints.Checkpoints:
    return checkpoints.Checkpoints(
        win, create_timeout_s=CONF.hyperv.vm_operation_timeout,
        merge_timeout_s=CONF.hyperv.snapshot_timeout)


def _snapshots(win: oswin.Win, host_paths: paths.Paths,
               disks: diskops.DiskOps,
               host_locks: locks.Locks) -> snapshotops.SnapshotOps:
    return snapshotops.SnapshotOps(
        win=win, paths=host_paths, disks=disks, locks=host_locks,
        checkpoints=_checkpoints(win),
        glance=glance.API(), copy_timeout_s=CONF.hyperv.snapshot_timeout)


def _config_drive(host_paths: paths.Paths) -> configdrive.ConfigDrive:
    return configdrive.ConfigDrive(
        host_paths, mkisofs_cmd=CONF.mkisofs_cmd,
        qemu_img_cmd=CONF.hyperv.qemu_img_cmd,
        inject_password=CONF.hyperv.config_drive_inject_password)


def _image_cache(win: oswin.Win, host_paths: paths.Paths,
                 host_locks: locks.Locks,
                 disks: diskops.DiskOps) -> imagecache.ImageCache:
    cache = CONF.image_cache
    return imagecache.ImageCache(
        paths=host_paths, locks=host_locks, disks=disks,
        images=images.Images(
            win, host_paths, qemu_img_cmd=CONF.hyperv.qemu_img_cmd,
            convert_timeout_s=CONF.hyperv.qemu_img_timeout,
            vmdk_types=CONF.compute.vmdk_allowed_types),
        use_cow=CONF.use_cow_images, ages=imagecache.Ages(
            original_s=cache.remove_unused_original_minimum_age_seconds,
            resized_s=cache.remove_unused_resized_minimum_age_seconds))


def _power(win: oswin.Win, **parts: Any) -> powerops.PowerOps:
    return powerops.PowerOps(
        win=win, soft_reboot_s=CONF.hyperv.wait_soft_reboot_seconds,
        jobs_timeout_s=CONF.os_win.wmi_job_terminate_timeout,
        operation_timeout_s=CONF.hyperv.vm_operation_timeout, **parts)


def _left_disks(win: oswin.Win, host_paths: paths.Paths,
                disks: diskops.DiskOps, volumes: volumeops.VolumeOps
                ) -> leftdisks.LeftDisks:
    return leftdisks.LeftDisks(
        win=win, paths=host_paths, disks=disks, volumes=volumes,
        retry_interval_s=CONF.hyperv.volume_attach_retry_interval)


def _metrics(win: oswin.Win, host: hostops.HostOps
             ) -> metricsops.MetricsOps:
    return metricsops.MetricsOps(
        win, enabled=CONF.hyperv.enable_instance_metrics_collection,
        cpu_mhz=host.cpu_mhz)


def _events(win: oswin.Win, console: serialconsoleops.SerialConsoleOps
            ) -> eventhandler.EventHandler:
    return eventhandler.EventHandler(
        win=win, console=console,
        timeframe_s=CONF.hyperv.power_state_check_timeframe,
        poll_s=CONF.hyperv.power_state_event_polling_interval)


def _arrivals(vms: vmops.VMOps,
              common: dict[str, Any]) -> arrivals.Arrivals:
    parts = {name: common[name] for name in (
        'win', 'planner', 'paths', 'disks', 'image_cache', 'locks')}
    return arrivals.Arrivals(vms=vms, **parts)


def _migration(vms: vmops.VMOps, incoming: arrivals.Arrivals,
               common: dict[str, Any]) -> migrationops.MigrationOps:
    parts = {name: common[name] for name in (
        'win', 'paths', 'disks', 'volumes', 'vifs', 'power', 'locks')}
    return migrationops.MigrationOps(
        vms=vms, arrivals=incoming, share=CONF.hyperv.instances_path_share,
        move_disks=CONF.hyperv.move_disks_on_cold_migration, **parts)


def _live(common: dict[str, Any], **parts: Any
          ) -> livemigrationops.LiveMigrationOps:
    both = {name: common[name] for name in ('win', 'paths', 'image_cache')}
    both |= {'vms': parts.pop('vms'), 'use_cow': CONF.use_cow_images,
             'host': livehost.LiveHost(common['win']),
             'share': CONF.hyperv.instances_path_share}
    return livemigrationops.LiveMigrationOps(
        checks=livechecks.LiveChecks(
            vswitch=CONF.hyperv.vswitch_name, **both),
        volumes=common['volumes'], vifs=common['vifs'],
        timeout_s=CONF.hyperv.live_migration_timeout,
        end_timeout_s=CONF.hyperv.vm_operation_timeout, **both, **parts)


def _rescue(host_paths: paths.Paths,
            common: dict[str, Any]) -> rescueops.RescueOps:
    return rescueops.RescueOps(
        config_drive=_config_drive(host_paths),
        use_cow=CONF.use_cow_images, **common)


def _recovery(console: serialconsoleops.SerialConsoleOps,
              left: leftdisks.LeftDisks, common: dict[str, Any]
              ) -> recovery.Recovery:
    return recovery.Recovery(
        win=common['win'], paths=common['paths'], locks=common['locks'],
        console=console, image_cache=common['image_cache'],
        checkpoints=_checkpoints(common['win']), left=left,
        limit_cpu_features=CONF.hyperv.limit_cpu_features)


def _interrupted(vms: vmops.VMOps, moves: migrationops.MigrationOps,
                 incoming: arrivals.Arrivals, common: dict[str, Any]
                 ) -> interrupted.Interrupted:
    both = {name: common[name] for name in ('win', 'volumes')}
    both['vms'], volume_api = vms, cinder.API()
    computes, repeated = rpcapi.ComputeAPI(), again.Again()
    books = interruptedbooks.InterruptedBooks(
        paths=common['paths'], vms=vms,
        placement=report.report_client_singleton)
    return interrupted.Interrupted(
        arrivals=interruptedmoves.InterruptedArrivals(
            paths=common['paths'], locks=common['locks'], arrivals=incoming,
            moves=moves, host_ports=volumewiring.host_ports(common['win']),
            books=books, cinder=volume_api, **both),
        live=interruptedlive.InterruptedLive(
            paths=common['paths'], network=neutron.API(),
            computes=computes,
            placement=report.report_client_singleton, **both),
        life=interruptedlife.InterruptedLife(
            win=common['win'], power=common['power'],
            rescue=common['rescue'], moves=moves, computes=computes,
            again=repeated),
        books=books, again=repeated, held=common['held_volumes'],
        snapshots=common['volume_snapshots'], cinder=volume_api,
        swaps=interruptedswap.InterruptedSwaps(
            held=common['held_volumes'], swap=common['volume_swap'],
            notes=hostnotes.HostNotes(common['paths'], common['win'].name),
            cinder=volume_api),
        moves=moves, **both)


def build(virtapi: Any) -> Ops:
    """Build the driver's parts over the host that this process is for."""
    win = oswin.connect()
    win.limit_jobs(CONF.hyperv.vm_operation_timeout)
    host_paths = _paths(win)
    host_locks = _locks(win.name, host_paths)
    by_protocol = volumewiring.by_protocol(win, host_locks)
    planner = _planner(win.caps, by_protocol)
    host = _host(win, host_paths)
    metrics = _metrics(win, host)
    common: dict[str, Any] = {
        'volumes': volumewiring.volumes(win, planner, by_protocol),
        'vifs': _vifs(win, virtapi)}
    console = _console(win, host_paths)
    disks = diskops.DiskOps(win, host_paths)
    left = _left_disks(win, host_paths, disks, common['volumes'])
    power = _power(win, console=console, metrics=metrics, left=left,
                   **common)
    common |= {
        'win': win, 'planner': planner, 'paths': host_paths, 'disks': disks,
        'image_cache': _image_cache(win, host_paths, host_locks, disks),
        'power': power, 'locks': host_locks}
    vms = vmops.VMOps(
        config_drive=_config_drive(host_paths), console=console, left=left,
        force_destroy=CONF.hyperv.force_destroy_instances, **common)
    incoming = _arrivals(vms, common)
    moves = _migration(vms, incoming, common)
    volume_parts = volumewiring.volume_parts(common)
    common['rescue'] = _rescue(host_paths, common)
    return Ops(
        win=win, vms=vms, power=power, vifs=common['vifs'], console=console,
        volumes=common['volumes'], host_ports=volumewiring.host_ports(win),
        arrivals=incoming, migration=moves, **volume_parts,
        live=_live(common, vms=vms, console=console, metrics=metrics),
        hotplug=_hotplug(common), rescue=common['rescue'],
        shared_storage=sharedstorage.SharedStorage(host_paths),
        snapshots=_snapshots(win, host_paths, disks, host_locks),
        image_cache=common['image_cache'], metrics=metrics, host=host,
        events=_events(win, console),
        interrupted=_interrupted(vms, moves, incoming, common | volume_parts),
        recovery=_recovery(console, left, common))


def check_programs() -> None:
    """Look for the programs that the options name, when nova-compute starts.

    :raises BadOption: every instance needs one that is not there.
    """
    drives_need_it = bool(CONF.force_config_drive)
    commands.check('mkisofs_cmd', CONF.mkisofs_cmd,
                   purpose='makes config drives', is_needed=drives_need_it)
    commands.check('[hyperv] qemu_img_cmd', CONF.hyperv.qemu_img_cmd,
                   purpose='converts images (qcow2, raw, vmdk) and config '
                           'drives',
                   is_needed=drives_need_it and
                   not CONF.hyperv.config_drive_cdrom)
