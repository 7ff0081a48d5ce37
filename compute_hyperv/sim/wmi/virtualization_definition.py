# SPDX-License-Identifier: Apache-2.0
"""The definition of a VM, as it travels: export, import, migration.

A definition is what JSON can hold: the records below the VM's settings and
those of its checkpoints, and the links between them. Paths of objects lose
the host's name on the way and get the new one where they arrive; switches
are found again by their name and physical disks by their identity.

Files: ``.xml`` for configuration version 5.0, ``.vmcx`` from 6.2 on
(hyperv-semantics.md section 10). Their inside is this simulator's own, as
Microsoft's is nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterable
import json
import re
import typing
from xml.etree import ElementTree
from xml.sax import saxutils
import zlib

from .. import devices
from .. import profiles
from .. import vm as vms
from . import engine
from . import network
from . import ops
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

Json = dict[str, typing.Any]

FORMAT = 1
_MAGIC = b'\x00SIMVMCX\x00'
#: What stands for the host's part of a path and for the VM's own path.
_HERE, _SYSTEM = '<here>', '<system>'
#: Paths of things of the host; they are looked up at the other end.
_OF_HOST = 'HostResource'
#: Classes that a version of Windows lacks, and what it has instead.
_INSTEAD = {'Msvm_SerialPortSettingData': devices.RASD}
_STORAGE = 'root/microsoft/windows/storage'


class NoDefinition(ValueError):
    """A file that is not the definition of a VM."""


def suffix(version: str) -> str:
    """Ending of the file of a VM of that configuration version."""
    return '.xml' if profiles.version_tuple(version) < (6, 2) else '.vmcx'


def to_bytes(definition: Json) -> bytes:
    """The content of a definition file."""
    text = json.dumps(definition)
    if suffix(definition['version']) == '.xml':
        return ('<?xml version="1.0" encoding="UTF-8"?><configuration>%s'
                '</configuration>' % saxutils.escape(text)).encode()
    return _MAGIC + zlib.compress(text.encode())


def from_bytes(data: bytes) -> Json:
    """The definition in a file.

    :raises NoDefinition: it holds something else
    """
    try:
        if data.startswith(_MAGIC):
            text = zlib.decompress(data[len(_MAGIC):]).decode()
        else:
            text = ElementTree.fromstring(data.decode()).text or ''
        found = json.loads(text)
        if found['format'] != FORMAT:
            raise NoDefinition('format %s' % found['format'])
    except (zlib.error, ValueError, ElementTree.ParseError, KeyError,
            TypeError) as exc:
        raise NoDefinition(str(exc)) from exc
    return dict(found)


# -- taking
def snapshots_of(vm: Vm) -> list[engine.Record]:
    """Settings of the checkpoints of a VM, oldest first."""
    return [record for record in vm.host.v2.find(
        vms.SETTINGS, VirtualSystemIdentifier=vm.guid)
        if record['InstanceID'] != vm.instance_id]


def take(vm: Vm, snapshots: Iterable[engine.Record] = (), *,
         metrics: bool = False) -> Json:
    """The definition of *vm*.

    :param snapshots: settings of the checkpoints that go along
    :param metrics: measured values go along too
    """
    prefixes = [vm.instance_id] + [one['InstanceID'] for one in snapshots]
    records = [record for prefix in prefixes
               for record in vm.host.v2.under(prefix)
               if metrics or not record.cls.is_a('CIM_BaseMetricValue')]
    settings = vm.settings
    return {
        'format': FORMAT, 'host': vm.host.name, 'guid': vm.guid,
        'name': vm.name, 'version': settings['Version'],
        'generation': vm.generation,
        'snapshots': [vms.guid_of(prefix) for prefix in prefixes[1:]],
        'system': _wire(vm, vm.system),
        'records': [[record.cls.name, _wire(vm, record)]
                    for record in records],
        'links': [[link.cls.name, _wire(vm, link)]
                  for link in _links(vm, records)],
        'disk_ids': _disk_ids(vm), 'switches': _switches(vm),
        'meters': {name: value for name, value in vm.host.vms.meters.items()
                   if metrics and vms.guid_of(name) == vm.guid},
    }


def _links(vm: Vm, records: list[engine.Record]) -> list[engine.Record]:
    """Links whose two ends are both of the definition."""
    ends = {record.path.lower() for record in (vm.system, *records)}
    found: dict[str, engine.Record] = {}
    for record in (vm.system, *records):
        for link in vm.host.v2.referring(record):
            if all((link[name] or '').lower() in ends
                   for name in link.cls.references):
                found[link.path] = link
    return sorted(found.values(), key=lambda link: link.serial)


def _prefix(host: Host) -> str:
    return '\\\\%s\\%s:' % (host.name, host.v2.namespace.replace('/', '\\'))


def _wire(vm: Vm, record: engine.Record) -> Json:
    """Properties of a record, without the host's name in paths."""
    system, prefix = vm.system.path.lower(), _prefix(vm.host)

    def travel(value: typing.Any) -> typing.Any:
        if isinstance(value, (list, tuple)):
            return [travel(one) for one in value]
        if isinstance(value, str) and value.lower() == system:
            return _SYSTEM
        if isinstance(value, str) and value.lower().startswith(
                prefix.lower()):
            return _HERE + value[len(prefix):]
        return value

    props = engine.wire(record.cls, '', record.props)['props']
    return {name: value if name == _OF_HOST else travel(value)
            for name, value in props.items()}


def _switches(vm: Vm) -> dict[str, str]:
    """Paths of the switches that it is connected to -> their names."""
    found = {}
    for port in vm.resources(devices.PORT):
        given = (port['HostResource'] or ('',))[0]
        switch = vm.host.v2.by_path(given) if given else None
        if switch is not None:
            found[given] = str(switch['ElementName'])
    return found


def _disk_ids(vm: Vm) -> dict[str, str]:
    """InstanceID of physical drives -> identity of the host's disk."""
    found = {}
    for drive in vm.resources(devices.RASD, devices.PHYSICAL_DISK):
        disk = vm.host.v2.by_path((drive['HostResource'] or ('',))[0])
        if disk is None:
            continue
        facts = vm.host.stores[_STORAGE].find_one(
            'MSFT_Disk', Number=disk['DriveNumber'])
        if facts is not None:
            found[drive['InstanceID']] = str(facts['UniqueId'])
    return found


# -- arriving
def renamed(definition: Json, new_guids: dict[str, str]) -> Json:
    """A definition with other identities, old -> new."""
    text = json.dumps(definition)
    for old, new in new_guids.items():
        text = re.sub(re.escape(old), new, text, flags=re.IGNORECASE)
    return dict(json.loads(text))


def add_snapshot(definition: Json, snapshot: Json) -> None:
    """Put the records of a checkpoint's own file into a definition."""
    definition['records'] += snapshot['records']


def load(host: Host, definition: Json, *, planned: bool,
         state: int = vms.OFF) -> Vm:
    """Make the records of a VM; its files are the caller's.

    :param definition: of a GUID that this host does not have
    :param state: EnabledState of the new Msvm_ComputerSystem
    """
    store = host.v2
    vm = Vm(host, definition['guid'])
    cls = vms.PLANNED_SYSTEM if planned else vms.SYSTEM
    arrive = _arrival(host, store.path_of(store.cls(cls), {
        'CreationClassName': cls, 'Name': vm.guid}))
    for name, props in definition['records']:
        _add_record(host, name, arrive(props), definition)
    store.update(vm.settings, VirtualSystemType=(
        devices.PLANNED if planned else devices.REALIZED))
    known = store.cls(cls).props
    store.add(cls, **dict(
        {name: value for name, value in definition['system'].items()
         if name in known}, CreationClassName=cls, EnabledState=state,
        OperationalStatus=(2,)))
    for name, props in definition['links']:
        _add_link(host, name, arrive(props))
    if not planned:
        host.vms.meters.update(definition['meters'])
    return vm


def complete_snapshot(vm: Vm, settings: engine.Record,
                      snapshot: Json) -> None:
    """Give a checkpoint that was missing its settings and resources."""
    arrive = _arrival(vm.host, vm.system.path)
    for name, props in snapshot['records']:
        props = arrive(props)
        if props['InstanceID'].lower() == settings['InstanceID'].lower():
            vm.host.v2.update(settings, **{
                key: props[key] for key in (
                    'VirtualSystemType', 'BootSourceOrder')})
        else:
            _add_record(vm.host, name, props, snapshot)
    for name, props in snapshot['links']:
        _add_link(vm.host, name, arrive(props))


def _arrival(host: Host, system_path: str
             ) -> typing.Callable[[typing.Any], typing.Any]:
    prefix = _prefix(host)

    def arrive(value: typing.Any) -> typing.Any:
        if isinstance(value, dict):
            return {name: arrive(one) for name, one in value.items()}
        if isinstance(value, list):
            return [arrive(one) for one in value]
        if value == _SYSTEM:
            return system_path
        if isinstance(value, str) and value.startswith(_HERE):
            return prefix + value[len(_HERE):]
        return value
    return arrive


def _add_record(host: Host, name: str, props: Json,
                definition: Json) -> None:
    store = host.v2
    if store.classes.find(name) is None:
        name = _INSTEAD.get(name, '')
    if not name:
        return                      # this version of Windows lacks it
    made = ops.embedded(store, {'class': name, 'props': props}).props
    if made.get(_OF_HOST) and made[_OF_HOST][0]:
        made[_OF_HOST] = _resource(host, made, definition)
    store.add(name, **made)


def _add_link(host: Host, name: str, props: Json) -> None:
    """Link two objects, if both are there and the link is not."""
    store = host.v2
    cls = store.classes.find(name)
    if cls is not None and all(
            store.by_path(props[end]) for end in cls.references) and (
            store.by_path(store.path_of(cls, props)) is None):
        store.add(name, **props)


def _resource(host: Host, props: typing.Mapping[str, typing.Any],
              definition: Json) -> tuple[str, ...]:
    """What a HostResource means on this host; else as it was."""
    given: tuple[str, ...] = tuple(props[_OF_HOST])
    found: engine.Record | None = None
    subtype = props.get('ResourceSubType')
    if subtype == devices.ETHERNET_CONNECTION:
        found = host.v2.find_one(
            network.SWITCH, ElementName=props.get('LastKnownSwitchName') or
            definition['switches'].get(given[0], ''))
    elif subtype == devices.PHYSICAL_DISK:
        found = _disk(host, definition['disk_ids'].get(props['InstanceID']))
    return given if found is None else (found.path,)


def _disk(host: Host, unique_id: str | None) -> engine.Record | None:
    facts = host.stores[_STORAGE].find_one(
        'MSFT_Disk', UniqueId=unique_id) if unique_id else None
    if facts is None:
        return None
    return host.v2.find_one('Msvm_DiskDrive', DriveNumber=facts['Number'])


def default_root(host: Host) -> str:
    """Folder of the host for what has no folder of its own."""
    return str(host.v2.find(
        'Msvm_VirtualSystemManagementServiceSettingData')[0][
        'DefaultExternalDataRoot'])


def is_known(host: Host, guid: str) -> bool:
    """Whether a VM or planned VM of that GUID is registered."""
    return host.vms.by_guid(guid) is not None or bool(
        host.v2.under('Microsoft:' + guid))
