# SPDX-License-Identifier: Apache-2.0
"""One simulated Windows host: its parts, and its power."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import itertools
import re
import sys
import typing
import uuid

from . import errors
from . import facts as facts_module
from . import fchba
from . import hostluns
from . import initiator
from . import jobs
from . import pipes
from . import ports
from . import profiles
from . import rbdclient
from . import storage
from . import storageloss
from . import virtualdisks
from . import vm
from . import wmi
from .wmi import engine
from .wmi import schema
from .wmi import smb
from .wmi.watch import Watch

if typing.TYPE_CHECKING:
    from . import fabric as fabric_module

V2 = 'root/virtualization/v2'
_NEWEST_BUILD = 26100
_NAMESPACE_OF = {'clustering': 'root/mscluster', 'dns': 'root/microsoftdns',
                 'shielding': 'root/msps'}
_CLASSES_OF = {'iscsi-target': 'wt_'}
_FEATURES = frozenset(_NAMESPACE_OF) | frozenset(_CLASSES_OF)
#: further facts of a host that providers look for, see HostSpec.extra
EXTRA = frozenset((
    'accounts', 'cpu_mhz', 'cpu_name', 'cpu_vendor', 'dns_domain',
    'fc_hbas', 'features', 'gpus', 'guarded', 'iscsi_initiators',
    'iscsi_name', 'live_migration', 'long_paths', 'migration_addresses',
    'mpio', 'mpio_claims', 'pci', 'processor_features', 'san_policy',
    'smb_shares'))
_COMPUTER_NAME = re.compile(r'[^\s\\/:*?"<>|.,]{1,63}')
_DRIVE = re.compile('[A-Za-z]')


@dataclasses.dataclass(frozen=True)
class SwitchSpec:
    """A virtual switch that an administrator made.

    :ivar kind: 'external', 'internal' or 'private'.
    :ivar nic: description of the physical adapter of an external one;
        '' has one made up.
    :ivar iov: prefers SR-IOV; ``vfs``, ``vmqs`` and ``queue_pairs`` are
        what the adapter offers.
    :ivar bandwidth_mode: 0 default, 1 weight, 2 absolute, 3 none.
    """

    name: str
    kind: str = 'external'
    nic: str = ''
    iov: bool = False
    bandwidth_mode: int = 0
    vfs: int = 0
    vmqs: int = 0
    queue_pairs: int = 0


@dataclasses.dataclass(frozen=True)
class HostSpec:
    """What a host is made of.

    :ivar name: computer name.
    :ivar windows: '2012R2', '2016', '2019', '2022' or '2025'.
    :ivar cpus: logical processors, over all NUMA nodes.
    :ivar volumes: drive letter -> size in GiB.
    :ivar switches: names, or SwitchSpec.
    :ivar features: what else is installed: 'clustering', 'dns' (server),
        'shielding' (tools for shielded machines), 'iscsi-target'.
        Without it the namespace or classes do not exist.
    :ivar extra: further facts for providers, by name.
    :ivar quirks: fields of FieldKnowledge that differ from the default.
    """

    name: str
    windows: str = '2022'
    cpus: int = 8
    memory_mib: int = 65536
    numa_nodes: int = 1
    volumes: typing.Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {'C': 500})
    switches: typing.Tuple[SwitchSpec, ...] = (SwitchSpec('external'),)
    features: typing.Tuple[str, ...] = ()
    extra: typing.Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)
    quirks: typing.Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)

    @classmethod
    def make(cls, spec: typing.Union['HostSpec', str, typing.Mapping[
            str, typing.Any]]) -> 'HostSpec':
        """From a name, a mapping (as in YAML) or one ready made.

        :raises ValueError: an unknown fact.
        """
        if isinstance(spec, HostSpec):
            return spec
        facts: typing.Dict[str, typing.Any] = (
            {'name': spec} if isinstance(spec, str) else dict(spec))
        if not _COMPUTER_NAME.fullmatch(str(facts.get('name', ''))):
            raise ValueError(f'a host has no name, or one that no computer '
                             f'can have: {facts.get("name")!r}')
        where = f'host {facts["name"]}'
        facts_module.known(where, facts,
                           [one.name for one in dataclasses.fields(cls)])
        cls._check_values(where, facts)
        if 'switches' in facts:
            facts['switches'] = tuple(_switch(where, one)
                                      for one in facts['switches'])
        for name in ('name', 'windows'):
            facts[name] = str(facts.get(name, '2022'))
        facts['features'] = tuple(facts.get('features', ()))
        return cls(**facts)

    @staticmethod
    def _check_values(where: str, facts: typing.Mapping[str, typing.Any]
                      ) -> None:
        for name in ('cpus', 'memory_mib', 'numa_nodes'):
            facts_module.whole(where, name, facts.get(name, 1), 1)
        for name in ('switches', 'features'):
            facts_module.listed(where, name, facts.get(name, ()))
        for name in ('extra', 'quirks'):
            facts_module.mapping(where, name, facts.get(name, {}))
        facts_module.sizes(where, 'volumes', facts.get('volumes', {}))
        for letter in facts.get('volumes', {}):
            if not _DRIVE.fullmatch(str(letter)):
                raise ValueError(f'{where}: volumes: {letter} is no letter '
                                 f'of a drive')
        facts_module.known(f'{where}, features', facts.get('features', ()),
                           _FEATURES)
        facts_module.known(f'{where}, extra', facts.get('extra', {}), EXTRA)
        facts_module.known(f'{where}, quirks', facts.get('quirks', {}), [
            one.name for one in dataclasses.fields(profiles.FieldKnowledge)])


def _switch(where: str, spec: typing.Union[
        SwitchSpec, str, typing.Mapping[str, typing.Any]]) -> SwitchSpec:
    if isinstance(spec, SwitchSpec):
        return spec
    if isinstance(spec, str):
        return SwitchSpec(spec)
    facts_module.mapping(where, 'a switch', spec)
    facts_module.known(f'{where}, switch', spec, [
        one.name for one in dataclasses.fields(SwitchSpec)])
    if not isinstance(spec.get('name'), str):
        raise ValueError(f'{where}: a switch has no name')
    return SwitchSpec(**spec)


def _profile(spec: HostSpec) -> profiles.Profile:
    """The profile of a host's Windows.

    :raises ValueError: none, or the host is larger than it can use
    """
    try:
        found = profiles.profile(spec.windows)
    except KeyError:
        raise ValueError(f'host {spec.name}: there is no Windows '
                         f'Server {spec.windows} here') from None
    if spec.cpus > found.logical_processors or (
            spec.memory_mib > found.memory_mib):
        raise ValueError(
            f'host {spec.name}: Windows Server {found.key} has at most '
            f'{found.logical_processors} processors and '
            f'{found.memory_mib} MiB')
    return found


def _pipes(host: 'Host') -> pipes.Pipes:
    """The named pipes of a host: on Windows they are Windows' own."""
    if sys.platform == 'win32':
        windows = importlib.import_module('.pipes_windows', __package__)
        made: pipes.Pipes = windows.Pipes(host)
        return made
    return pipes.Pipes(host)


class Host:
    """A host of a fabric.

    :ivar profile: what its version of Windows can do.
    :ivar stores: lower-case namespace -> Store; ``v2`` is the one of
        Hyper-V.
    :ivar port: through it goes everything that clients want.
    :ivar quirks: beliefs about Hyper-V that tests may switch.
    :ivar powered: False while the machine is off.
    :ivar is_marked: files are compared with those of :meth:`mark`.
    """

    is_marked = False

    def __init__(self, fabric: 'fabric_module.Fabric',
                 spec: HostSpec) -> None:
        self.fabric = fabric
        self.spec = spec
        self.name = spec.name
        self.clock = fabric.clock
        self.profile = _profile(spec)
        try:
            self.quirks = profiles.FieldKnowledge(**spec.quirks)
        except TypeError as exc:
            raise ValueError(f'host {spec.name}, quirks: {exc}') from None
        self.powered = True
        self._watch_ids = itertools.count(1)
        self._watches: typing.Dict[int, Watch] = {}
        self._watches_at_mark = 0
        self.released: typing.List[int] = []
        every = schema.namespaces(_NEWEST_BUILD)
        prefixes = tuple(prefix for feature, prefix in _CLASSES_OF.items()
                         if feature not in spec.features)
        absent = [low for feature, low in _NAMESPACE_OF.items()
                  if feature not in spec.features]
        self.stores: typing.Dict[str, engine.Store] = {
            low: engine.Store(self, classes, every[low], prefixes)
            for low, classes in schema.namespaces(
                self.profile.build).items()
            if low not in absent}
        self.v2 = self.stores[V2]
        self.storage = storage.Storage(self)
        self.vdisks = virtualdisks.VirtualDisks(self)
        self.luns = hostluns.HostLuns(self)
        self.initiator = initiator.Initiator(self)
        self.hbas = fchba.Hbas(self)
        self.rbd = rbdclient.Rbd(self)
        self.pipes = _pipes(self)
        self.jobs = jobs.Jobs(self)
        self.vms = vm.VMs(self)
        self.port = ports.LocalPort(self)

    def populate(self) -> None:
        """Have the providers set up what a fresh host has."""
        for provider in wmi.providers():
            populate = getattr(provider, 'populate', None)
            if populate is not None:
                populate(self)

    def new_guid(self) -> str:
        """A new GUID, upper case as in Hyper-V's identities."""
        return str(uuid.uuid4()).upper()

    def peer(self, name: str) -> 'Host':
        """The host that a moniker names; '.' is this one.

        :raises x_wmi: it does not answer.
        """
        if name in ('.', self.name) or name.lower() == self.name.lower():
            return self
        found = self.fabric.find(name)
        if found is None or not found.powered or not (
                self.fabric.connected(self, found)):
            errors.fail(errors.RPC_S_SERVER_UNAVAILABLE)
        return found

    # -- power -------------------------------------------------------------

    def power_off(self) -> None:
        """Cut the power: VMs die, processes on the host too; idempotent."""
        with self.fabric.lock:
            if not self.powered:
                return
            self.powered = False
            for part in (self.vms, self.vdisks, self.pipes, self.storage,
                         self.initiator, self.hbas, self.rbd, self.luns):
                part.power_cut()
            storageloss.look_everywhere(self.fabric)
        self.end_watches()
        if self.fabric.server is not None:
            self.fabric.server.kill_clients(self)

    def power_on(self) -> None:
        """Boot the machine; VMs start that are set to; idempotent."""
        with self.fabric.lock:
            if not self.powered:
                self.powered = True
                self.restore()
                storageloss.look_everywhere(self.fabric)

    def restore(self) -> None:
        """Have the providers do what a boot of the host does."""
        self.find_disks()
        for provider in wmi.providers():
            function = getattr(provider, 'restore', None)
            if function is not None:
                function(self)

    def find_disks(self) -> None:
        """A boot finds the disks of the storage array again."""
        self.initiator.power_cut()
        self.hbas.power_cut()
        self.rbd.power_cut()
        self.luns.power_cut()
        self.initiator.boot()
        self.luns.boot()

    def check_power(self) -> None:
        """Refuse calls of clients while the machine is off."""
        if not self.powered:
            errors.fail(errors.RPC_S_SERVER_UNAVAILABLE,
                        f'{self.name} is powered off')

    def client_gone(self, client: str, watches: typing.Iterable[int]
                    ) -> None:
        """A process ended: the system closes what it had open.

        :param watches: its subscriptions.
        """
        for number in watches:
            self.drop_watch(number)
        for part in (self.storage, self.vdisks, self.pipes, self.hbas):
            part.client_gone(client)

    # -- subscriptions -----------------------------------------------------

    def keep_watch(self, one: Watch) -> int:
        """Number of a new subscription of this host's clients."""
        number = next(self._watch_ids)
        self._drop_released()
        self._watches[number] = one
        return number

    def watch(self, number: int) -> typing.Optional[Watch]:
        return self._watches.get(number)

    def drop_watch(self, number: int, quietly: bool = False) -> None:
        """Cancel a subscription; a number that is gone is fine."""
        one = self._watches.pop(number, None)
        if one is not None:
            one.store.watches.remove(one, quietly)

    def close_watches(self) -> None:
        """Cancel all; endless loops of os-win that wait for events end."""
        for number in list(self._watches):
            self.drop_watch(number, quietly=True)

    def end_watches(self) -> None:
        """Cancel all as a restart of the WMI service does: with errors."""
        for number in list(self._watches):
            self.drop_watch(number)

    def _drop_released(self) -> None:
        while self.released:
            self.drop_watch(self.released.pop())

    @property
    def watches(self) -> typing.List[Watch]:
        """Live subscriptions of this host's clients."""
        self._drop_released()
        return list(self._watches.values())

    # -- the clean check ---------------------------------------------------

    def mark(self) -> None:
        """Take the files and subscriptions of now as belonging here."""
        self.storage.mark()
        self.is_marked = True
        self._watches_at_mark = len(self.watches)

    def problems(self) -> typing.List[str]:
        """What a clean host does not have, as lines of text."""
        found = (self.vms.problems() + self.jobs.problems() +
                 self.storage.problems() + self.vdisks.problems() +
                 self.pipes.problems() + self.initiator.problems() +
                 self.hbas.problems() + self.rbd.problems() +
                 self.luns.problems() +
                 smb.problems(self))
        watches = self.watches
        if len(watches) > self._watches_at_mark:
            # A subscription ends when Python frees it, and an exception's
            # traceback may hold it until the next collection.
            gc.collect()
            watches = self.watches
        if len(watches) > self._watches_at_mark:
            found += [f'subscription: {one.text}' for one in watches]
        return found
