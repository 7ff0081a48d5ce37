# SPDX-License-Identifier: Apache-2.0
"""Event subscriptions: ``__Instance...Event WITHIN n`` queries.

Real WMI compares the instances every n seconds: changes in between
collapse into one event and a change that is taken back shows none.  By
default a simulated fabric tells at once (``fabric.prompt_events``).
"""

from __future__ import annotations

import _queue
import typing

from .. import errors
from .. import native
from ..errors import fail
from . import objects
from . import wql

if typing.TYPE_CHECKING:
    from . import engine

Props = typing.Dict[str, typing.Any]
Wire = typing.Dict[str, typing.Any]
_PREFIXES = ('targetinstance', 'previousinstance')
_CREATED = '__instancecreationevent'
_MODIFIED = '__instancemodificationevent'
_DELETED = '__instancedeletionevent'


class Ended(Exception):
    """The subscription was cancelled; ``quietly`` when by the fabric."""

    def __init__(self, quietly: bool) -> None:
        super().__init__('No more events')
        self.quietly = quietly


class Change(typing.NamedTuple):
    rec: 'engine.Record'
    old: typing.Optional[Props]
    new: typing.Optional[Props]


class Watch:
    """One subscription.

    :ivar prompt: tell at once instead of comparing every ``within_s``.
    """

    def __init__(self, store: 'engine.Store', text: str,
                 prompt: bool) -> None:
        query = wql.parse(text)
        target = wql.isa_class(query.where)
        if query.within_s is None or target is None:
            fail(errors.WBEM_E_INVALID_QUERY, f'Not an event query: {text}')
        self.text = text
        self.prompt = prompt
        self.store = store
        self._kinds = frozenset(store.cls(query.cls).subs)
        cls = store.cls(target)
        self._classes = frozenset(cls.subs)
        self._test = wql.compile_where(query.where, cls, _PREFIXES).test
        self._previous = (query.fields is None or
                          'previousinstance' in query.fields)
        self._within_s = max(query.within_s, 0.001)
        self._began_s = native.monotonic()
        self._bucket = 0
        self._pending: typing.Dict[int, Change] = {}
        self._queue: typing.Any = native.SimpleQueue()
        self._ended: typing.Optional[Ended] = None

    def offer(self, change: Change) -> None:
        """Take notice of a change; the fabric's lock is held."""
        if change.rec.cls.low not in self._classes:
            return
        if self.prompt:
            self._tell(change)
            return
        self._poll()
        first = self._pending.pop(change.rec.serial, change)
        self._pending[change.rec.serial] = Change(
            change.rec, first.old, change.new)

    def _poll(self) -> None:
        """Compare, if a moment of comparison has passed."""
        bucket = int((native.monotonic() - self._began_s) / self._within_s)
        if bucket == self._bucket:
            return
        self._bucket = bucket
        pending, self._pending = self._pending, {}
        for change in pending.values():
            if change.old != change.new:
                self._tell(change)

    def _tell(self, change: Change) -> None:
        rec, old, new = change
        kind = (_CREATED if old is None else
                _DELETED if new is None else _MODIFIED)
        if kind not in self._kinds:
            return
        target = old if new is None else new
        env: Props = {'targetinstance': rec.cls.lineage,
                      'previousinstance': rec.cls.lineage}
        for prefix, props in (('targetinstance.', target),
                              ('previousinstance.', old)):
            for name, value in (props or {}).items():
                env[prefix + name] = value
        if self._test(env):
            self._queue.put(self._event(rec, kind, target or {}, old))

    def _event(self, rec: 'engine.Record', kind: str,
               target: Props, old: typing.Optional[Props]) -> Wire:
        # The properties of that moment; the object may have moved on.
        event = objects.wire(rec.cls, rec.path, {**rec.view(), **target})
        event['previous'] = None
        if kind == _MODIFIED and self._previous:
            event['previous'] = objects.wire(rec.cls, rec.path, old or {})
        return event

    def next(self, timeout_s: float) -> typing.Optional[Wire]:
        """The next event, or None after *timeout_s*.

        :raises Ended: the subscription was cancelled.
        """
        deadline_s = native.monotonic() + timeout_s
        while True:
            wait_s = max(0.0, deadline_s - native.monotonic())
            step_s = wait_s if self.prompt else min(
                wait_s, self._until_poll_s())
            event = self._get(step_s)
            if event is not None:
                return event
            if not self.prompt:
                with self.store.host.fabric.lock:
                    self._poll()
            if native.monotonic() >= deadline_s:
                return self._get(0)

    def _until_poll_s(self) -> float:
        elapsed_s = native.monotonic() - self._began_s
        polls = int(elapsed_s / self._within_s) + 1
        return float(polls * self._within_s - elapsed_s)

    def _get(self, timeout_s: float) -> typing.Optional[Wire]:
        if self._ended and self._queue.empty():
            raise self._ended
        try:
            event: typing.Optional[Wire] = self._queue.get(
                True, max(timeout_s, 0.0))
        except _queue.Empty:
            return None
        if event is None:
            assert self._ended is not None
            raise self._ended
        return event

    def end(self, quietly: bool) -> None:
        """Cancel; whoever waits is told."""
        if self._ended is None:
            self._ended = Ended(quietly)
            self._queue.put(None)


class Watches:
    """The subscriptions of one namespace."""

    def __init__(self, store: 'engine.Store') -> None:
        self._store = store
        self._live: typing.List[Watch] = []

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> typing.Iterator[Watch]:
        return iter(list(self._live))

    def add(self, text: str) -> Watch:
        """Subscribe.

        :raises x_wmi: not a valid event query.
        """
        fabric = self._store.host.fabric
        found = Watch(self._store, text, fabric.prompt_events)
        with fabric.lock:
            self._live.append(found)
        return found

    def remove(self, one: Watch, quietly: bool = False) -> None:
        with self._store.host.fabric.lock:
            if one in self._live:
                self._live.remove(one)
        one.end(quietly)

    def changed(self, rec: 'engine.Record', old: typing.Optional[Props],
                new: typing.Optional[Props]) -> None:
        """Offer a change to everybody; the fabric's lock is held."""
        for one in list(self._live):
            one.offer(Change(rec, old, new))
