# SPDX-License-Identifier: Apache-2.0
"""Guests: what a virtual machine does once it has power.

A guest takes boot time by the fabric's clock, writes its boot log to the
COM ports that lead to a pipe, sends heartbeats and key-value pairs once it
is up, answers (or ignores) a soft shutdown and echoes what is typed.

===============  ========================================================
booting          no contact; the boot log comes out line by line
running          heartbeats, KVP, echo
shutting down    accepted a soft shutdown; off or rebooted afterwards
paused           silent; goes on where it was
no system        the firmware found nothing to boot from, and waits
===============  ========================================================

With an instant clock a boot takes no time. A client that connects to the
COM port a moment later would have seen the log on a real host, so in that
mode the log is kept until the first client of the port is there.

A firmware that finds nothing to boot from says so on the screen: "Boot
failure. Reboot and Select proper Boot device" (generation 1), "No operating
system was loaded" (generation 2). On a COM port there is nothing to be read
[F]; the redirection of generation 2 by ``ConsoleMode`` is not simulated.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import fnmatch
import functools
import typing

from . import bootable
from . import native

if typing.TYPE_CHECKING:
    from .host import Host
    from .vm import Vm

BOOTING, RUNNING, SHUTTING_DOWN, PAUSED, NO_SYSTEM = (
    'booting', 'running', 'shutting down', 'paused', 'no system')

#: Heartbeat OperationalStatus (hyperv-semantics.md section 15).
HEARTBEAT_OK, NO_CONTACT, HEARTBEAT_PAUSED = 2, 12, 15

BOOT_LOG = (
    'BIOS: starting {name}',
    'Booting `Simulated Linux\'',
    '[    0.000000] Linux version 6.1.0-sim (simulated guest) #1 SMP',
    '[    0.000000] Hypervisor detected: Microsoft Hyper-V',
    '[    0.214000] hv_vmbus: Vmbus version:5.3',
    '[    0.512000] hv_storvsc: storage attached',
    '[    0.733000] hv_netvsc: network attached',
    '[    1.402000] EXT4-fs (sda1): mounted filesystem',
    '[    2.110000] systemd[1]: Reached target Multi-User System.',
    '',
    '{name} login: ',
)


@dataclasses.dataclass(slots=True)
class Behaviour:
    """How guests behave; one per host, changed per VM by name pattern."""

    #: False: comes up although there is nothing to boot from
    needs_boot_source: bool = True
    boot_s: float = 8.0             #: from power to services, real clock
    shutdown_s: float = 3.0         #: from request to off, real clock
    has_services: bool = True       #: integration services are installed
    obeys_shutdown: bool = True     #: False: accepts and does nothing
    locked: bool = False            #: a soft shutdown needs force
    can_freeze: bool = True         #: writes out before a checkpoint
    dumps_on_nmi: bool = True       #: dumps its memory and restarts
    echoes: bool = True             #: input on COM comes back
    boot_log: tuple[str, ...] = BOOT_LOG
    os_name: str = 'Simulated Linux'
    os_version: str = '6.1.0'
    addresses: tuple[str, ...] = ()


class Behaviours:
    """Behaviour of the guests of one host."""

    def __init__(self) -> None:
        self.default = Behaviour()
        self._rules: list[tuple[str, dict[str, typing.Any]]] = []

    def behave(self, pattern: str, **changes: typing.Any) -> None:
        """Change the behaviour of VMs whose name matches *pattern*.

        :param pattern: as a shell: ``instance-*``; later calls win
        :param changes: fields of :class:`Behaviour`
        """
        dataclasses.replace(self.default, **changes)
        self._rules.append((pattern, changes))

    def concerns(self, name: str) -> bool:
        """Whether anything was said about the VM called *name*."""
        return any(fnmatch.fnmatchcase(name, pattern)
                   for pattern, _changes in self._rules)

    def of(self, name: str) -> Behaviour:
        """The behaviour of the VM called *name*."""
        found = self.default
        for pattern, changes in self._rules:
            if fnmatch.fnmatchcase(name, pattern):
                found = dataclasses.replace(found, **changes)
        return found


class Port(typing.Protocol):
    """A COM port that leads to a pipe."""

    @property
    def has_client(self) -> bool:
        """Whether somebody listens."""

    def write(self, data: bytes) -> int:
        """Send, without waiting; lost when nobody listens."""


class Guest:
    """The system inside one VM, from power-on to power-off."""

    def __init__(self, vm: Vm, power_off: Callable[[], None]) -> None:
        self._vm = vm
        self._host: Host = vm.host
        self._power_off = power_off
        self._timers: list[typing.Any] = []
        self._ports: list[Port] = []
        self._kept: dict[int, list[bytes]] = {}
        # Clients come in the pipe's thread, lines in the clock's.
        self._lock = native.RLock()
        self._paused_from = RUNNING
        self._brought: Behaviour | None = None
        self._reboots = False
        self.state = BOOTING
        self.boots = 0
        self.freezes = 0                #: times that it was quiesced
        self.interrupts = 0             #: non-maskable ones that came
        self.dumps = 0                  #: times that it wrote its memory

    @property
    def behaviour(self) -> Behaviour:
        """How this guest behaves; what it brought, unless told anew."""
        rules = self._host.vms.behaviours
        if self._brought is not None and not rules.concerns(self._vm.name):
            return self._brought
        return rules.of(self._vm.name)

    # -- power, called by the virtual machine
    def boot(self) -> None:
        """Start from the beginning, also after a reset."""
        self.stop()
        self.state = BOOTING
        self.boots += 1
        self._kept = {id(port): [] for port in self._ports}
        behaviour = self.behaviour
        if behaviour.needs_boot_source and bootable.source(self._vm) is None:
            self.state = NO_SYSTEM
            self._host.vms.found_no_system.append(self._vm.name)
            return
        boot_s = self._host.clock.duration(behaviour.boot_s)
        lines = behaviour.boot_log
        for index, line in enumerate(lines):
            end = b'' if index + 1 == len(lines) else b'\r\n'
            text = line.format(name=self._vm.name).encode() + end
            self._later(boot_s * index / max(1, len(lines)),
                        functools.partial(self._say, text))
        self._later(boot_s, self._is_up)

    def pause(self) -> None:
        """Stop in the middle; timers of a boot start again on resume."""
        self._paused_from = self.state
        self.state = PAUSED

    def resume(self) -> None:
        """Go on after a pause or out of a saved state."""
        if self.state != PAUSED:
            if self._vm.guid in self._host.vms.saved_without_system:
                self.state = NO_SYSTEM
            else:
                self._is_up()
            return
        self.state = self._paused_from
        if self.state == BOOTING and not self._timers:
            self._is_up()

    def adopt(self, other: Guest) -> None:
        """Go on where *other* is: the VM came here from another host."""
        self._brought = other.behaviour
        self.state, self.boots = other.state, other.boots
        self.freezes = other.freezes
        self.interrupts, self.dumps = other.interrupts, other.dumps
        self._paused_from = other._paused_from
        now_s = self._host.clock.monotonic()
        left_s = max((timer.due_s - now_s for timer in other._timers),
                     default=0.0)
        if self.state == BOOTING:
            self._later(max(0.0, left_s), self._is_up)
        elif self.state == SHUTTING_DOWN:
            self._reboots = other._reboots
            self._later(max(0.0, left_s),
                        self.boot if self._reboots else self._power_off)

    def stop(self) -> None:
        """The plug was pulled."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    # -- asked from outside
    @property
    def has_system(self) -> bool:
        """Whether the firmware found something to boot from."""
        return NO_SYSTEM not in (
            self.state, self._paused_from if self.state == PAUSED else None)

    @property
    def is_up(self) -> bool:
        """Whether services in the guest answer."""
        return self.state == RUNNING and self.behaviour.has_services

    @property
    def heartbeat(self) -> int:
        """OperationalStatus of the heartbeat component."""
        if self.state == PAUSED:
            return HEARTBEAT_PAUSED
        return HEARTBEAT_OK if self.is_up else NO_CONTACT

    def freeze(self) -> bool:
        """Write out what is in memory; False if it cannot just now."""
        if not (self.is_up and self.behaviour.can_freeze):
            return False
        self.freezes += 1
        return True

    def interrupt(self) -> None:
        """Take a non-maskable interrupt; see ``Behaviour.dumps_on_nmi``."""
        self.interrupts += 1
        if not self.has_system:
            return                      # the firmware takes no notice
        if not self.behaviour.dumps_on_nmi:
            self._say(b'\r\nNMI received for unknown reason.\r\n')
            return
        self._say(b'\r\nNMI received: dumping memory.\r\n')
        self.dumps += 1
        self.boot()

    def shut_down(self, *, reboot: bool = False) -> None:
        """Shut down from inside, as somebody logged in would."""
        self.state = SHUTTING_DOWN
        self._reboots = reboot
        self._say(b'\r\nThe system is going down now.\r\n')
        delay_s = self._host.clock.duration(self.behaviour.shutdown_s)
        self._later(delay_s, self.boot if reboot else self._power_off)

    def facts(self) -> dict[str, str]:
        """Intrinsic key-value pairs (section 15)."""
        if not self.is_up:
            return {}
        behaviour = self.behaviour
        return {
            'FullyQualifiedDomainName': self._vm.name,
            'OSName': behaviour.os_name,
            'OSVersion': behaviour.os_version,
            'OSBuildNumber': behaviour.os_version,
            'IntegrationServicesVersion': '4.1',
            'ProcessorArchitecture': 'x86_64',
            'NetworkAddressIPv4': ';'.join(
                one for one in behaviour.addresses if ':' not in one),
            'NetworkAddressIPv6': ';'.join(
                one for one in behaviour.addresses if ':' in one),
        }

    # -- COM ports
    def connect(self, port: Port) -> None:
        """A COM port leads to a pipe from now on."""
        self._ports.append(port)
        self._kept[id(port)] = []

    def disconnect(self, port: Port) -> None:
        """A COM port leads nowhere again."""
        self._ports.remove(port)
        self._kept.pop(id(port), None)

    def client_came(self, port: Port) -> None:
        """Somebody opened the pipe: what was kept goes out first."""
        with self._lock:
            kept = self._kept.get(id(port))
            while kept:
                port.write(kept.pop(0))

    def typed(self, port: Port, data: bytes) -> None:
        """Somebody typed on a COM port."""
        if self.state == RUNNING and self.behaviour.echoes:
            port.write(data.replace(b'\r', b'\r\n'))

    def _say(self, text: bytes) -> None:
        for port in self._ports:
            with self._lock:
                if port.has_client:
                    self.client_came(port)
                    port.write(text)
                elif not self._host.clock.duration(1.0):
                    self._kept[id(port)].append(text)

    def _is_up(self) -> None:
        self._timers.clear()
        self.state = RUNNING

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        if delay_s <= 0 and not self._timers:
            action()
        else:
            self._timers.append(self._host.clock.call_later(delay_s,
                                                            action))
