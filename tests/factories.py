# SPDX-License-Identifier: Apache-2.0
"""Valid defaults: a test states only what matters to it."""

import dataclasses
import itertools
import uuid

from nova.network import model as network_model
from nova import objects

from compute_hyperv import hostcaps
from compute_hyperv import model

objects.register_all()

_numbers = itertools.count(1)

#: Version of Windows by the name that the release is sold under.
VERSIONS = {'2012R2': '6.3.9600', '2016': '10.0.14393',
            '2019': '10.0.17763', '2022': '10.0.20348',
            '2025': '10.0.26100'}


def caps(release='2022', **changes):
    """HostCaps as oswin makes them for that release."""
    return dataclasses.replace(hostcaps.caps_of(VERSIONS[release]), **changes)


def flavor(memory_mib=512, vcpus=1, disk_gib=10, ephemeral_gib=0, swap_mib=0,
           **extra_specs):
    """A flavor; *extra_specs* with '__' for ':'."""
    number = next(_numbers)
    return objects.Flavor(
        id=number, flavorid=str(number), name=f'flavor-{number}',
        memory_mb=memory_mib, vcpus=vcpus, root_gb=disk_gib,
        ephemeral_gb=ephemeral_gib, swap=swap_mib,
        extra_specs={name.replace('__', ':'): value
                     for name, value in extra_specs.items()})


def instance(flavor_=None, **fields):
    """An instance that has not been saved anywhere."""
    flavor_ = flavor_ or flavor()
    values = {
        'id': next(_numbers), 'uuid': str(uuid.uuid4()),
        'project_id': 'project', 'user_id': 'user', 'hostname': 'probe',
        'display_name': 'probe', 'display_description': 'a probe',
        'image_ref': str(uuid.uuid4()), 'kernel_id': '', 'ramdisk_id': '',
        'flavor': flavor_, 'instance_type_id': flavor_.id,
        'memory_mb': flavor_.memory_mb, 'vcpus': flavor_.vcpus,
        'root_gb': flavor_.root_gb, 'ephemeral_gb': flavor_.ephemeral_gb,
        'root_device_name': '/dev/sda', 'host': 'HV1', 'node': 'HV1',
        'metadata': {}, 'system_metadata': {}, 'config_drive': '',
        'numa_topology': None, 'pci_requests': None, 'trusted_certs': None,
        'vm_state': 'building', 'task_state': 'spawning', 'power_state': 0,
        'os_type': None, 'architecture': None, 'deleted': False,
        'cleaned': False, **fields}
    return objects.Instance(**values)


def image_meta(disk_format='vhdx', image_id=None, min_disk_gib=0,
               **properties):
    return objects.ImageMeta.from_dict({
        'id': image_id or str(uuid.uuid4()), 'status': 'active',
        'disk_format': disk_format, 'container_format': 'bare',
        'min_disk': min_disk_gib, 'min_ram': 0, 'size': 4 << 20,
        'properties': properties})


def image_root(boot_index=0, **fields):
    """The entry of an image's root disk in block_device_info."""
    return {'device_name': '/dev/sda', 'boot_index': boot_index,
            'disk_bus': None, 'device_type': 'disk', 'guest_format': None,
            **fields}


def block_device_info(image=None, ephemerals=(), swap=None, volumes=()):
    """Nova's dict of an instance that boots from an image by default."""
    return {'root_device_name': '/dev/sda',
            'image': [image or image_root()] if not volumes else [],
            'ephemerals': list(ephemerals), 'swap': swap,
            'block_device_mapping': list(volumes)}


def ephemeral(size_gib=1, device_name='/dev/sdb', **fields):
    return {'device_name': device_name, 'size': size_gib, 'disk_bus': None,
            'device_type': 'disk', 'guest_format': None,
            'boot_index': -1, **fields}


def vif(vif_type='hyperv', **fields):
    """A network VIF as it stands in an instance's info cache."""
    number = next(_numbers)
    values = {
        'id': str(uuid.uuid4()), 'type': vif_type, 'vnic_type': 'normal',
        'address': f'fa:16:3e:00:{number >> 8 & 255:02x}:{number & 255:02x}',
        'active': True, 'details': {}, 'profile': {},
        'network': network_model.Network(id=str(uuid.uuid4()),
                                         bridge='', label='net'),
        **fields}
    return network_model.VIF(**values)


def network_info(*vifs):
    return network_model.NetworkInfo(list(vifs))


def layout(instance_dir='C:\\OpenStack\\Instances\\instance-00000001'):
    """Where the files of an instance are."""
    base = instance_dir.rpartition('\\')[0]
    return model.InstanceLayout(
        instance_dir=instance_dir,
        root_stem=instance_dir + '\\root', ephemeral_stem=(
            instance_dir + '\\eph'), swap_stem=instance_dir + '\\swap',
        config_stem=instance_dir + '\\configdrive',
        console_path=instance_dir + '\\console.log',
        base_dir=base + '\\_base')
