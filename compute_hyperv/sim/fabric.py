# SPDX-License-Identifier: Apache-2.0
"""A fabric: simulated hosts and what they share."""

from __future__ import annotations

import collections.abc
import math
import os
import re
import types
import typing

from . import clock as clock_module
from . import current
from . import facts as facts_module
from . import faults
from . import host as host_module
from . import native
from . import ports
from . import san
from . import storage
from . import storageloss
from .host import Host
from .host import HostSpec

Sizes = typing.Mapping[str, float]
GIB = 1 << 30
_SHARE = re.compile(r'\\\\[^\\/]+\\[^\\/]+')
_NONE: Sizes = types.MappingProxyType({})
Check = typing.Callable[['Fabric'], typing.Iterable[str]]

_checks: typing.List[Check] = []


def check(function: Check) -> Check:
    """Register ``f(fabric) -> problems``, a part of the clean check.

    A problem is a line of text that names the host and what was left.
    """
    _checks.append(function)
    return function


def _check_facts(path: str, facts: typing.Any) -> None:
    """Refuse a file that describes no fabric.

    :raises ValueError: with what is wrong.
    """
    if not isinstance(facts, dict) or not facts.get('hosts') or (
            not isinstance(facts['hosts'], list)):
        raise ValueError(f'{path}: a list of hosts is missing; "hyperv-sim '
                         f'serve --help" shows one')
    facts_module.known(path, facts, (
        'root', 'hosts', 'clock', 'scale', 'shares', 'csvs'))
    for one in facts['hosts']:
        if not isinstance(one, str):
            facts_module.mapping(path, 'a host', one)
    facts_module.number(path, 'scale', facts.get('scale', 1.0), 0)
    for name in ('shares', 'csvs'):
        facts_module.sizes(path, name, facts.get(name, {}))
    for unc in facts.get('shares', {}):
        if not _SHARE.fullmatch(unc):
            raise ValueError(f'{path}: {unc} is no share, such as '
                             f'\\\\SERVER\\share')


class Hosts(collections.abc.Mapping[str, Host]):
    """The hosts by name, case ignored, in the order given."""

    def __init__(self) -> None:
        self._hosts: typing.Dict[str, Host] = {}

    def add(self, host: Host) -> None:
        self._hosts[host.name.lower()] = host

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name.lower()]

    def __iter__(self) -> typing.Iterator[str]:
        return (host.name for host in self._hosts.values())

    def __len__(self) -> int:
        return len(self._hosts)


class Fabric:
    """Hosts, their shared storage, clock, recorder and fault plan.

    :param root_dir: folder for disks and pipes; created when missing.
    :param hosts: HostSpec, a mapping of its fields, or just a name each.
    :param clock: 'instant', 'real' or 'stepped'.
    :param shares: UNC path of a file server's share -> size in GiB.
    :param csvs: cluster shared volume, mounted in C:\\ClusterStorage of
        every host -> size in GiB.
    :param prompt_events: tell watchers at once; else compare every
        WITHIN seconds as WMI does.
    :ivar patience_s: the longest that a wait for an event lasts, whatever
        the caller asked for; a service that stops waits for its last one.
    :ivar lock: native and re-entrant; held while a provider works and
        while timers run.  Never log, sleep or wait while holding it.
    :ivar not_simulated: texts of what was asked and is not simulated.
    :ivar changes: how often an object of WMI was made, changed, deleted.
    :ivar server: the Server while this fabric is served.
    """

    def __init__(self, root_dir: str, hosts: typing.Iterable[
            typing.Union[HostSpec, str, typing.Mapping[str, typing.Any]]],
            clock: str = 'instant', scale: float = 1.0,
            prompt_events: bool = True,
            shares: Sizes = _NONE, csvs: Sizes = _NONE) -> None:
        ports.load_handlers()
        os.makedirs(root_dir, exist_ok=True)
        self.root_dir = os.path.realpath(root_dir)
        self.lock = native.RLock()
        self.clock = clock_module.Clock(clock, self.lock, scale)
        self.recorder = faults.Recorder()
        self.faults = faults.Faults()
        self.prompt_events = prompt_events
        self.patience_s = math.inf
        self.not_simulated: typing.List[str] = []
        self.changes = 0
        self.server: typing.Any = None
        self.shares = storage.Shares(self.root_dir)
        for unc, gib in shares.items():
            self.shares.add(unc, int(gib * GIB))
        self._cut: typing.Set[typing.FrozenSet[str]] = set()
        self._closers: typing.List[typing.Callable[[], object]] = []
        self.hosts = Hosts()
        self.san = san.San(self)
        for spec in hosts:
            one = HostSpec.make(spec)
            if one.name in self.hosts:
                raise ValueError(f'host {one.name} is there twice')
            self.hosts.add(host_module.Host(self, one))
        for name, gib in csvs.items():
            self.shares.add_csv(name, int(gib * GIB), [
                host.storage for host in self.hosts.values()])
        for host in self.hosts.values():
            host.populate()

    @classmethod
    def from_yaml(cls, path: str, root_dir: typing.Optional[str] = None
                  ) -> 'Fabric':
        """A fabric as a file describes it: ``hyperv-sim serve --help``.

        :param root_dir: instead of the file's ``root``, which is relative
            to the file.
        """
        import yaml
        with open(path, encoding='utf-8') as stream:
            try:
                facts = yaml.safe_load(stream)
            except yaml.YAMLError as exc:
                raise ValueError(f'{path}: {exc}') from exc
        _check_facts(path, facts)
        root = root_dir or os.path.join(
            os.path.dirname(os.path.abspath(path)),
            facts.get('root', 'fabric'))
        return cls(root, facts['hosts'], clock=facts.get('clock', 'real'),
                   scale=facts.get('scale', 1.0),
                   shares=facts.get('shares', {}),
                   csvs=facts.get('csvs', {}))

    # -- hosts -------------------------------------------------------------

    def host(self, name: str) -> Host:
        """The host *name*.

        :raises KeyError: there is none.
        """
        return self.hosts[name]

    def find(self, name: str) -> typing.Optional[Host]:
        """The host of that name or fully qualified name, or None."""
        return self.hosts.get(name) or self.hosts.get(
            name.partition('.')[0])

    def on(self, name: str) -> typing.ContextManager[Host]:
        """Make a host the one that drivers built in the block get."""
        return current.on_host(self.host(name))

    def cut(self, one: str, other: str) -> None:
        """Break the network between two hosts."""
        self._cut.add(frozenset((one.lower(), other.lower())))
        storageloss.look_everywhere(self)

    def mend(self, one: str, other: str) -> None:
        """Take back :meth:`cut`."""
        self._cut.discard(frozenset((one.lower(), other.lower())))
        storageloss.look_everywhere(self)

    def look_at_storage(self) -> None:
        """Have every VM see whether its files are there (section 2)."""
        storageloss.look_everywhere(self)

    def lose_server(self, name: str) -> None:
        """A file server stops to answer; VMs notice (section 2)."""
        self.shares.smb.down.add(name.lower())
        storageloss.look_everywhere(self)

    def regain_server(self, name: str) -> None:
        """Take back :meth:`lose_server`."""
        self.shares.smb.down.discard(name.lower())
        storageloss.look_everywhere(self)

    def connected(self, one: Host, other: Host) -> bool:
        return frozenset((one.name.lower(),
                          other.name.lower())) not in self._cut

    # -- the clean check ---------------------------------------------------

    def note_not_simulated(self, exc: Exception) -> None:
        """Remember what could not be simulated; os-win may swallow it."""
        self.not_simulated.append(f'{type(exc).__name__}: {exc}')

    def mark(self) -> None:
        """Take files and subscriptions of now as belonging to the hosts."""
        for host in self.hosts.values():
            host.mark()

    @property
    def is_marked(self) -> bool:
        """Whether files are compared with those of a :meth:`mark`."""
        return all(host.is_marked for host in self.hosts.values())

    def problems(self) -> typing.List[str]:
        """What a clean fabric does not have, as lines of text."""
        found = [f'not simulated: {text}' for text in self.not_simulated]
        for host in self.hosts.values():
            found += [f'{host.name}: {text}' for text in host.problems()]
        for one in _checks:
            found += one(self)
        return found

    def assert_clean(self) -> None:
        """Raise AssertionError if anything was left behind."""
        found = self.problems()
        if found:
            raise AssertionError('the fabric is not clean:\n  ' +
                                 '\n  '.join(found))

    # -- end ---------------------------------------------------------------

    def at_close(self, function: typing.Callable[[], object]) -> None:
        """Have *function* called when the fabric is closed."""
        self._closers.append(function)

    def close(self) -> None:
        """Stop threads and subscriptions, close sockets; idempotent."""
        for host in self.hosts.values():
            host.close_watches()
            host.pipes.close()
        closers, self._closers = self._closers, []
        for function in reversed(closers):
            function()
        self.clock.close()
