# SPDX-License-Identifier: Apache-2.0
"""What all sweeps of faults have in common.

A good run of an operation is recorded; then one run for each of its calls
(WMI queries, methods, objects and references, DLL functions, files,
programs), in which that call fails. The calls are dealt out to several
tests, *hands*, that can run side by side. ``tools/test sweeps`` runs all of
them; in other runs a long sweep has only its first hands, and of the calls
that write the many files of a config drive only the first of each kind fail.
"""

import collections
import contextlib
import fnmatch
import os
import re
import sys
import time
import typing

import fixtures
import pyvhdi

from compute_hyperv import operation
from tests.functional import base

KINDS = ('query', 'method', 'get', 'ref', 'dll', 'file', 'program')

#: Nobody can give a handle back whose closing fails: not broken here.
CLOSING = ('virtdisk.close', 'kernel32.CloseHandle', 'close',
           'hbaapi.HBA_CloseAdapter')

#: Parts of labels that are others in each run.
VARYING = re.compile(r'[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|'
                     r'[0-9A-F]{32}|instance-[0-9a-f]{8}|/tmp/\w+',
                     re.IGNORECASE)

#: What comes and goes by itself, or stays, below the instances path.
PASSING = re.compile(
    r'console\.log|\\Instances\\(' + '|'.join(base.STAYS) + r')\\?$',
    re.IGNORECASE)

#: Threads make a call in some runs only: so often it is waited for.
TRIES = 4

#: Where contents of disks are compared, and how much of them, bytes.
PLACES = (0, 15 << 20)
LENGTH = 1 << 20


#: Whether no call is left out.
WHOLE = os.environ.get('OS_SWEEPS') == 'whole'


def hands(count, usual=None):
    """Numbers of the tests that share one operation's calls.

    :param usual: how many of them there are but in ``tools/test sweeps``
        (None: all).
    """
    return range(count if WHOLE or usual is None else usual)


class Call(typing.NamedTuple):
    """A call that is to fail: the *number*-th to fit the *pattern*."""

    host: str
    kind: str
    pattern: str
    number: int
    label: str


class _Clock:
    """The fabric's clock, for one wait of the driver: it lasts no time.

    What other threads do may still take some.
    """

    #: Of its first and its longest pause that which is real, seconds.
    REST_S, LONGEST_S = 0.01, 0.1

    def __init__(self, clock):
        self._clock = clock
        self._rest_s = self.REST_S

    def monotonic(self):
        return self._clock.monotonic()

    def sleep(self, pause_s):
        rest_s = min(pause_s, self._rest_s)
        self._rest_s = min(2 * self._rest_s, self.LONGEST_S)
        time.sleep(rest_s)
        self._clock.advance(pause_s - rest_s)


class VirtualTime(fixtures.Fixture):
    """The driver waits and retries by the clock of a fabric."""

    def __init__(self, fabric):
        super().__init__()
        self._clock = fabric.clock

    def _setUp(self):
        for name in ('until', 'retry'):
            self.useFixture(fixtures.MonkeyPatch(
                f'{operation.__name__}.{name}',
                self._hurried(getattr(operation, name))))

    def _hurried(self, function):
        def hurried(*args, **kwargs):
            return function(*args, **kwargs | {
                'clock': _Clock(self._clock)})
        return hurried


class SweepMixin:
    """Records calls and breaks them; before a ``base.TestCase``."""

    def setUp(self):
        super().setUp()
        self.useFixture(VirtualTime(self.fabric))
        self._struck = 0

    def _set_flags(self):
        super()._set_flags()
        # What Nova asks the host, or does, when it hears that a VM stopped
        # or runs, would be part of some runs only.
        self.flags(handle_virt_lifecycle_events=False, group='workarounds')

    # The calls.

    def recorded(self, run, hosts=('HV1',)):
        """The :class:`Call` s of a good run to some hosts."""
        with self.fabric.recorder.recording() as calls:
            run()
        found, patterns = [], {}
        for call in calls:
            if call.kind in KINDS and call.host in hosts:
                same = patterns.setdefault(call[:2], [])
                same.append(call.label.lower())
                if self.is_ours(call.label):
                    fits = self.pattern(call.label)
                    number = len(fnmatch.filter(same, fits.lower()))
                    found.append(Call(call.host, call.kind, fits, number,
                                      call.label))
        return found

    def pattern(self, label):
        """Of the same call in another run, as faults match it."""
        return VARYING.sub('*', label).replace('[', '?')

    @staticmethod
    def is_ours(label):
        # The console writes its log in a thread of its own.
        return 'console.log' not in label and label not in CLOSING

    @contextlib.contextmanager
    def failing(self, call):
        """Inside the block, that call fails."""
        with self.fabric.faults.failing(
                host=call.host, kind=call.kind, match=call.pattern,
                nth=call.number) as fault:
            yield
        self._struck += fault.hits

    # Sweeping.

    def sweep(self, what, calls, hand, hands, run):
        """Fail each call of one hand, and tell how that went.

        :param run: gives the outcome of the operation with one failed call,
            after all checks of what is left.
        """
        own = (calls if WHOLE else _without_repetition(calls))[hand::hands]
        outcomes, missed = collections.Counter(), []
        for call in own:
            for _ in range(TRIES):
                self._struck = 0
                outcome = run(call)
                if self._struck:
                    outcomes[outcome] += 1
                    break
            else:
                missed.append(call)
        self._tell(what, own, calls, outcomes, missed)
        self.assertTrue(outcomes, 'no call was struck')
        self.assertLessEqual(len(missed), max(1, len(own) // 20), missed)
        return outcomes

    @staticmethod
    def _tell(what, own, calls, outcomes, missed):
        text = ', '.join(f'{count} {outcome}' for outcome, count
                         in sorted(outcomes.items()))
        if missed:
            text += f'; not met again: {missed}'
        print(f'{what}: {outcomes.total()} of {len(calls)} calls failed once '
              f'each: {text} ({base.mode()})', file=sys.__stderr__)

    # What is left.

    def problems(self):
        """What is open or left on any host, whatever states VMs are in."""
        return sorted(
            re.sub(r'(exists), .*', r'\1', VARYING.sub('*', text))
            for text in self.fabric.problems() if not PASSING.search(text))

    def assert_problems(self, wanted, what):
        """What is open or left, as soon as threads have followed."""
        self.assert_in_time(wanted, self.problems, what)

    def content(self, path, host='HV1'):
        """What libvhdi, which knows nothing of us, reads of a disk."""
        storage = self.fabric.host(host).storage
        with contextlib.ExitStack() as stack:
            disk = _opened(stack, storage.local(path), storage.local)
            return [disk.read_buffer_at_offset(LENGTH, place)
                    for place in PLACES]


def _without_repetition(calls):
    """Of the many files that go onto a config drive only the first."""
    seen, found = set(), []
    for call in calls:
        which = (call.label.split()[0] if '.iso.files' in call.label
                 else call)
        if which not in seen:
            found.append(call)
        seen.add(which)
    return found


def content(path):
    """What libvhdi reads of a disk without parents at a local path."""
    with contextlib.ExitStack() as stack:
        disk = _opened(stack, path, None)
        return [disk.read_buffer_at_offset(LENGTH, place)
                for place in PLACES]


def _opened(stack, path, resolve):
    disk = pyvhdi.file()
    disk.open(path)
    stack.callback(disk.close)
    if disk.get_disk_type() == 4:
        disk.set_parent(_opened(stack, resolve(disk.get_parent_filename()),
                                resolve))
    return disk
