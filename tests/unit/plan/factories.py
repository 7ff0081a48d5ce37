# SPDX-License-Identifier: Apache-2.0
"""Valid defaults for planner tests; a test states what matters to it."""

from nova import objects

from compute_hyperv import model
from compute_hyperv import plan
from compute_hyperv.plan import disks
from compute_hyperv.plan import machine
from compute_hyperv.plan import request
from compute_hyperv.plan import volumes

UUID = '5f2b2c1e-6d0f-4d8e-9a4e-7f1d3a1c0b5a'
IMAGE_ID = '0d1c5c1a-93b7-4b8e-a3a9-0e1f62a6a6ef'
TIB_MIB = 1024 * 1024
DIR = r'C:\OpenStack\Instances\instance-00000001'

objects.register_all()

GEN1 = model.Generation.ONE
GEN2 = model.Generation.TWO


def caps(**changes):
    """Windows Server 2022."""
    values = {
        'windows': model.WindowsVersion.parse('10.0.20348'),
        'limits': (
            model.MachineLimits(generation=GEN1, vcpus=64,
                                memory_mib=TIB_MIB),
            model.MachineLimits(generation=GEN2, vcpus=1024,
                                memory_mib=240 * TIB_MIB)),
        'hot_nic': True, 'nested': True, 'linux_secure_boot': True,
        'vtpm': True, 'dda': True, 'remotefx': False,
        'production_checkpoints': True, 'threads_per_core': True}
    return model.HostCaps(**(values | changes))


def caps_2012():
    """Windows Server 2012 R2."""
    return caps(
        windows=model.WindowsVersion.parse('6.3.9600'),
        limits=(model.MachineLimits(generation=GEN1, vcpus=64,
                                    memory_mib=TIB_MIB),
                model.MachineLimits(generation=GEN2, vcpus=64,
                                    memory_mib=TIB_MIB)),
        hot_nic=False, nested=False, linux_secure_boot=False, vtpm=False,
        dda=False, production_checkpoints=False, threads_per_core=False)


def image_meta(disk_format='vhdx', **properties):
    """Image metadata as Nova hands it to drivers."""
    return objects.ImageMeta.from_dict({
        'id': IMAGE_ID, 'disk_format': disk_format,
        'properties': properties})


def instance(flavor=None, specs=None, numa=None, properties=None):
    """An instance whose API kept all image *properties*."""
    values = {'vcpus': 2, 'memory_mb': 2048, 'root_gb': 20} | (flavor or {})
    return objects.Instance(
        id=1, uuid=UUID, numa_topology=numa,
        flavor=objects.Flavor(extra_specs=dict(specs or {}), **values),
        system_metadata={f'image_{name}': value
                         for name, value in (properties or {}).items()})


def ask(flavor=None, specs=None, numa=None, disk_format='vhdx',
        **properties):
    """A request, read through both places of image properties."""
    return request.Request(
        instance(flavor, specs, numa, properties),
        image_meta(disk_format, **properties))


def numa(*cells):
    """A topology of ``(vcpus, memory_mib)`` cells."""
    first = 0
    result = []
    for number, (vcpus, memory_mib) in enumerate(cells):
        result.append(objects.InstanceNUMACell(
            id=number, cpuset=set(range(first, first + vcpus)),
            pcpuset=set(), memory=memory_mib, cpu_policy=None))
        first += vcpus
    return objects.InstanceNUMATopology(cells=result)


def layout():
    """Where the files of the instance go."""
    return model.InstanceLayout(
        instance_dir=DIR, root_stem=DIR + r'\root',
        ephemeral_stem=DIR + r'\eph', swap_stem=DIR + r'\swap',
        config_stem=DIR + r'\configdrive', console_path=DIR + r'\console.log',
        base_dir=r'C:\OpenStack\Instances\_base')


def bdi(image=None, ephemerals=(), swap=None, volumes=()):
    """Nova's block device information."""
    return {'root_device_name': '/dev/sda',
            'image': [dict({'device_name': '/dev/sda'}, **(image or {}))],
            'ephemerals': list(ephemerals), 'swap': swap,
            'block_device_mapping': list(volumes)}


def ephemeral(size=1, **changes):
    """An entry of Nova's list of ephemerals; size in GiB."""
    return {'size': size, 'device_name': '/dev/sdb', 'device_type': None,
            'disk_bus': None, 'guest_format': None} | changes


def volume(volume_id='vol', mount_device='/dev/sdc', **changes):
    """An entry of Nova's list of volumes."""
    return {'mount_device': mount_device, 'device_type': None,
            'disk_bus': None, 'boot_index': None,
            'connection_info': {'driver_volume_type': 'iscsi',
                                'serial': volume_id}} | changes


def vif(**changes):
    """Nova's dict of a port."""
    return {'id': 'port-1', 'address': 'fa:16:3e:00:00:01',
            'type': 'hyperv', 'vnic_type': 'normal',
            'network': {'meta': {'mtu': 1450}}} | changes


def slot(text):
    """``'ide 0:1'`` as a Slot."""
    bus, position = text.split()
    controller, lun = position.split(':')
    return model.Slot(bus=model.Bus(bus), controller=int(controller),
                      lun=int(lun))


def plan_machine(asked, host=None, **options):
    """A machine on a 2022 host."""
    return machine.plan_machine(asked, host or caps(),
                                machine.MachineOptions(**options))


def plan_disks(asked, info=None, generation=GEN2, config_drive=False,
               **options):
    """Drives on a 2022 host that knows iSCSI volumes."""
    options.setdefault('volumes', volumes.Protocols(
        known=frozenset({'iscsi'})))
    return disks.DiskPlanner(
        asked, generation, caps(), disks.DiskOptions(**options),
        layout()).plan(info if info is not None else bdi(), config_drive)


def planner(host=None, **options):
    """A planner of a 2022 host."""
    return plan.Planner(host or caps(), plan.PlanOptions(**options))
