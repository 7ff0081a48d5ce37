# SPDX-License-Identifier: Apache-2.0
"""Random histories of disks against a model that is a bytearray."""

import shutil
import tempfile

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from compute_hyperv.sim import disks
from tests.unit.vhd.folder import MIB

_MOST_BYTES = 12 * MIB
_SHAPES = {
    'vhd': {'block_bytes': 512 << 10},
    'vhdx': {'block_bytes': MIB},
}

# Offsets near the borders of blocks and sectors find more than others do.
_OFFSETS = st.one_of(
    st.integers(0, _MOST_BYTES),
    st.builds(lambda block, less: max(0, block * (512 << 10) - less),
              st.integers(0, 24), st.integers(-3, 1030)),
    st.integers(0, 11).map(lambda block: block * MIB))
_BYTES = st.sampled_from((0, 0, 1, 255))
_LENGTHS = st.one_of(st.integers(1, 3000), st.integers(1, 2 * MIB),
                     st.sampled_from((512, 4096, 512 << 10, MIB)))


class _History(stateful.RuleBasedStateMachine):
    """One chain: the last disk is written, all of it is compared."""

    fmt = ''
    kind = 'dynamic'

    def __init__(self):
        super().__init__()
        self.dir = tempfile.mkdtemp()
        self.chain = []         # (name, content) from the root up
        self.made = 0

    def teardown(self):
        shutil.rmtree(self.dir)

    def _local(self, win_path):
        return f'{self.dir}/{win_path.rpartition(chr(92))[2]}'

    def _name(self):
        self.made += 1
        return f'C:\\{self.made}.{self.fmt}'

    def _open(self, name, **kwargs):
        return disks.open_disk(self._local(name), win_path=name,
                               resolve=self._local, **kwargs)

    def _leaf(self, writable=True):
        return self._open(self.chain[-1][0], writable=writable)

    @property
    def content(self):
        return self.chain[-1][1]

    @stateful.initialize(sectors=st.integers(1, 4 * MIB // 512))
    def create(self, sectors):
        name = self._name()
        disks.create(self._local(name), fmt=self.fmt, kind=self.kind,
                     size_bytes=sectors * 512, win_path=name,
                     resolve=self._local, **_SHAPES[self.fmt])
        self.chain.append((name, bytearray(sectors * 512)))

    @stateful.rule(writes=st.lists(
        st.tuples(_OFFSETS, _LENGTHS, _BYTES), min_size=1,
        max_size=4))
    def write(self, writes):
        with self._leaf() as disk:
            for offset, length, byte in writes:
                offset %= len(self.content)
                length = min(length, len(self.content) - offset)
                data = bytes([byte]) * length
                disk.write(offset, data)
                self.content[offset:offset + length] = data

    @stateful.precondition(lambda self: len(self.chain) < 4)
    @stateful.rule()
    def make_child(self):
        name, parent = self._name(), self.chain[-1]
        disks.create(self._local(name), fmt=self.fmt, kind='differencing',
                     parent=parent[0], win_path=name, resolve=self._local)
        self.chain.append((name, bytearray(parent[1])))

    @stateful.precondition(
        lambda self: self.fmt == 'vhdx' or len(self.chain) == 1)
    @stateful.rule(sectors=st.integers(1, 3 * MIB // 512))
    def grow(self, sectors):
        size_bytes = len(self.content) + sectors * 512
        if size_bytes <= _MOST_BYTES:
            with self._leaf() as disk:
                disk.resize(size_bytes)
            self.content.extend(bytes(sectors * 512))

    @stateful.precondition(
        lambda self: self.fmt == 'vhdx' and len(self.chain) == 1)
    @stateful.rule(sectors=st.integers(1, _MOST_BYTES // 512))
    def shrink(self, sectors):
        if sectors * 512 < len(self.content):
            with self._leaf() as disk:
                disk.resize(sectors * 512, unsafe=True)
            del self.content[sectors * 512:]

    @stateful.precondition(lambda self: len(self.chain) > 1)
    @stateful.rule(depth=st.integers(1, 3))
    def merge(self, depth):
        depth = min(depth, len(self.chain) - 1)
        with self._leaf() as disk:
            disk.merge(depth)
        target, content = self.chain[-1 - depth][0], self.content
        self.chain[-1 - depth:] = [(target, content)]

    @stateful.precondition(lambda self: len(self.chain) > 1)
    @stateful.rule()
    def move_parent_and_reconnect(self):
        old, new = self.chain[-2][0], self._name()
        shutil.move(self._local(old), self._local(new))
        self.chain[-2] = (new, self.chain[-2][1])
        with self._open(self.chain[-1][0], writable=True,
                        parents=False) as disk:
            disk.reconnect(new)

    @stateful.rule(kind=st.sampled_from(('dynamic', 'fixed')))
    def flatten(self, kind):
        name = self._name()
        with self._leaf(writable=False) as disk:
            disks.convert(disk, self._local(name), fmt=self.fmt, kind=kind,
                          win_path=name, resolve=self._local,
                          **_SHAPES[self.fmt])
        self.chain = [(name, self.content)]

    @stateful.precondition(lambda self: self.fmt == 'vhdx')
    @stateful.rule(offset=_OFFSETS, byte=_BYTES)
    def write_and_be_killed(self, offset, byte):
        """What the log has is there, though nothing was written in place."""
        offset %= len(self.content)
        disk = self._leaf()
        disk.write(offset, bytes([byte]))
        disk._journal.commit(in_place=False)
        disk.abandon()
        self.content[offset] = byte

    @stateful.invariant()
    def reads_what_was_written(self):
        if self.chain:
            with self._leaf(writable=False) as disk:
                assert disk.size_bytes == len(self.content)
                assert disk.read(0, disk.size_bytes) == self.content

    @stateful.precondition(lambda self: self.chain)
    @stateful.rule(offset=_OFFSETS, length=_LENGTHS)
    def reads_alike_from_anywhere(self, offset, length):
        with self._leaf(writable=False) as disk:
            assert (disk.read(offset, length)
                    == self.content[offset:offset + length])


class _Vhd(_History):
    fmt = 'vhd'


class _FixedVhd(_History):
    fmt, kind = 'vhd', 'fixed'


class _Vhdx(_History):
    fmt = 'vhdx'


class _FixedVhdx(_History):
    fmt, kind = 'vhdx', 'fixed'


_SETTINGS = hypothesis.settings(
    max_examples=80, stateful_step_count=25, deadline=None,
    database=None, suppress_health_check=list(hypothesis.HealthCheck))


def _case(machine):
    case = machine.TestCase
    case.settings = _SETTINGS
    return case


VhdHistoryTest = _case(_Vhd)
FixedVhdHistoryTest = _case(_FixedVhd)
VhdxHistoryTest = _case(_Vhdx)
FixedVhdxHistoryTest = _case(_FixedVhdx)
