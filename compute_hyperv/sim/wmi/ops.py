# SPDX-License-Identifier: Apache-2.0
"""WMI operations as they come through a host's port.

Every operation names the host that is meant, '.' or a name: a moniker may
reach another host of the fabric, as with DCOM.
"""

from __future__ import annotations

import typing

from .. import errors
from . import engine
from ..errors import fail
from ..errors import NotSimulated
from . import objectpath
from ..ports import op
from . import registry
from . import schema
from . import values
from . import watch
from . import wql

if typing.TYPE_CHECKING:
    from .. import host as host_module

Wire = typing.Dict[str, typing.Any]
_PLANS_KEPT = 1024
#: References that a method takes although another class is documented
#: (oswin-surface.md 9.2): method and parameter -> the class.
_ALSO_TAKEN = {
    ('AddResourceSettings', 'AffectedConfiguration'): 'CIM_ComputerSystem',
    ('ExportSystemDefinition', 'ComputerSystem'):
        'CIM_VirtualSystemSettingData',
}


def _store(host: 'host_module.Host', name: str, ns: str) -> engine.Store:
    peer = host.peer(name)
    store = peer.stores.get(ns.lower())
    if store is None:
        fail(errors.WBEM_E_INVALID_NAMESPACE, f'Invalid namespace {ns}')
    return store


@op('wmi.connect', kind='connect', label=lambda a: f'//{a["on"]}/{a["ns"]}')
def connect(host: 'host_module.Host', on: str, ns: str) -> str:
    """Verify that a namespace answers; gives its canonical name."""
    store = _store(host, on, ns)
    store.cls('__Provider')
    return store.namespace


@op('wmi.class', kind=None)
def describe_class(host: 'host_module.Host', on: str, ns: str,
                   cls: str) -> Wire:
    """A class as :func:`schema.from_wire` takes it."""
    return _store(host, on, ns).cls(cls).wire()


class _Plan:
    """A query, compiled."""

    __slots__ = ('cls', 'condition', 'wanted', 'kept', 'system')

    def __init__(self, store: engine.Store, text: str) -> None:
        query = wql.parse(text)
        self.cls = cls = store.cls(query.cls)
        self.condition = wql.compile_where(query.where, cls)
        self.system = any(
            name.startswith('__') for name in self.condition.names)
        self.kept: typing.Optional[typing.FrozenSet[str]] = None
        self.wanted: typing.Optional[typing.FrozenSet[str]] = None
        if query.fields is not None:
            known = [(name, cls.prop(name)) for name in query.fields
                     if not name.startswith('__')]
            if not all(prop for _name, prop in known):
                fail(errors.WBEM_E_INVALID_QUERY, f'Invalid query: {text}')
            # The keys stay in, so that path_() works.
            self.kept = frozenset(
                [prop.name for _name, prop in known if prop] +
                list(cls.keys))
            self.wanted = self.kept | self.condition.names


def _plan(store: engine.Store, text: str) -> _Plan:
    plans = store.plans
    found = plans.get(text)
    if found is None:
        if len(plans) >= _PLANS_KEPT:
            plans.clear()
        found = plans[text] = _Plan(store, text)
    return typing.cast(_Plan, found)


def _view(rec: engine.Record, wanted: typing.Optional[
        typing.AbstractSet[str]] = None) -> typing.Optional[engine.Props]:
    """Properties of an object, or None if it is just vanishing.

    Queries take no lock, so what computes a property may meet an object
    that another thread is half-way through making or deleting.
    """
    try:
        return rec.view(wanted)
    except (LookupError, AttributeError, TypeError):
        with rec.store.host.fabric.lock:
            return rec.view(wanted) if rec.store.holds(rec) else None


def _instance(rec: typing.Optional[engine.Record]) -> Wire:
    """One object for the port; x_wmi 'not found' if it is gone."""
    view = _view(rec) if rec is not None else None
    if rec is None or view is None:
        fail(errors.WBEM_E_NOT_FOUND)
    return engine.wire(rec.cls, rec.path, view)


def _matching(store: engine.Store, plan: _Plan
              ) -> typing.Iterator[typing.Tuple[engine.Record,
                                                engine.Props]]:
    registry.refresh(store.host, store.namespace, plan.cls)
    terms = plan.condition.terms
    path = next((text for kind, text in terms if kind == 'path'), None)
    if path is not None:
        rec = store.by_path(path)
        records = [rec] if rec and plan.cls.low in rec.cls.lineage else []
    else:
        records = store.candidates(plan.cls, terms)
    test = plan.condition.test
    for rec in records:
        view = _view(rec, plan.wanted)
        if view is None:
            continue
        env = view
        if plan.system:
            env = {'__PATH': rec.path, '__CLASS': rec.cls.name,
                   '__SERVER': store.host.name,
                   '__NAMESPACE': store.namespace,
                   '__RELPATH': rec.path.partition(':')[2], **view}
        if test(env):
            yield rec, view


@op('wmi.query', kind='query', label=lambda a: a['wql'])
def query(host: 'host_module.Host', on: str, ns: str,
          wql: str) -> typing.List[Wire]:
    """The instances that a WQL query selects, oldest first."""
    store = _store(host, on, ns)
    plan = _plan(store, wql)
    kept = plan.kept
    if kept is None:
        return [engine.wire(rec.cls, rec.path, view)
                for rec, view in _matching(store, plan)]
    return [dict(engine.wire(rec.cls, rec.path, {
        name: view.get(name) for name in kept}), projected=True)
        for rec, view in _matching(store, plan)]


def _keys_label(args: typing.Mapping[str, typing.Any]) -> str:
    return objectpath.relative(args['cls'], args['keys'].items())


@op('wmi.get', kind=lambda a: a.get('why', 'get'), label=_keys_label)
def get(host: 'host_module.Host', on: str, ns: str, cls: str,
        keys: typing.Dict[str, typing.Any], why: str = 'get') -> Wire:
    """One instance by class and keys.

    :param why: 'get', or 'ref' when a reference parameter is resolved.
    """
    store = _store(host, on, ns)
    return _instance(store.get(store.cls(cls).name, **keys))


def _target(store: engine.Store, path: str) -> engine.Record:
    rec = store.by_path(path)
    if rec is None:
        fail(errors.WBEM_E_NOT_FOUND)
    return rec


def _reference(store: engine.Store, kind: str, value: typing.Any,
               also: str) -> engine.Record:
    """The object that a reference leads to, of the class it must be.

    :param kind: ``ref:<class>``, as the schema declares the parameter.
    :param also: another class that is taken too, or ''.
    """
    parsed = objectpath.parse(value)
    other = store
    if parsed and parsed.namespace.lower() not in ('', store.low):
        other = _store(store.host, '.', parsed.namespace)
    rec = _target(other, value)
    hresult = store.host.quirks.wrong_reference_hresult
    if hresult and not any(name and rec.cls.is_a(name)
                           for name in (kind[len('ref:'):], also)):
        fail(hresult, f'{rec.cls.name} is no {kind[len("ref:"):]}')
    return rec


def _incoming(store: engine.Store, kind: str, value: typing.Any,
              also: str = '') -> typing.Any:
    """One in parameter as providers get it."""
    if kind.startswith('ref:'):
        return _reference(store, kind, value, also)
    if isinstance(value, dict):
        return embedded(store, value)
    try:
        return values.convert_one(kind, value)
    except (TypeError, ValueError) as exc:
        fail(errors.WBEM_E_TYPE_MISMATCH, str(exc))


def embedded(store: engine.Store, wire: Wire) -> engine.Embedded:
    """The embedded instance that a client sent."""
    cls = store.cls(wire['class'])
    return engine.Embedded(cls, store.convert(
        cls, _props(store, cls, wire['props'])))


def _props(store: engine.Store, cls: schema.ClassDef,
           props: engine.Props) -> engine.Props:
    """Properties that a client sent, embedded instances made real."""
    found = dict(props)
    for name in cls.embedded:
        value = found.get(name)
        if isinstance(value, dict):
            found[name] = embedded(store, value)
        elif value is not None:
            found[name] = [embedded(store, one) for one in value]
    return found


def _outgoing(kind: str, value: typing.Any) -> typing.Any:
    """One out parameter for the port."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_outgoing(kind, one) for one in value]
    if kind.startswith(('instance', 'object')):
        return value.wire()
    return value.path if isinstance(value, engine.Record) else value


def _results(method: schema.MethodDef, out: registry.Out) -> Wire:
    found = out if isinstance(out, dict) else {'ReturnValue': out or 0}
    results = {name: _outgoing(kind, found.get(name))
               for name, kind, _array in method.outs}
    if method.returns:
        results['ReturnValue'] = found.get('ReturnValue', 0)
    unknown = set(found) - set(results) - {'ReturnValue'}
    if unknown:
        raise errors.SchemaError(f'{method.name} has no {unknown}')
    return results


@op('wmi.invoke', kind='method',
    label=lambda a: f'{a["cls"]}.{a["method"]}')
def invoke(host: 'host_module.Host', on: str, ns: str, cls: str,
           path: typing.Optional[str], method: str, args: Wire) -> Wire:
    """Call a method; *path* is None for a static one.

    :returns: all out parameters and ReturnValue, by name.
    """
    store = _store(host, on, ns)
    found = store.cls(cls)
    declared = found.method(method)
    if declared is None or (path is None and not declared.static):
        fail(errors.WBEM_E_INVALID_METHOD, f'Invalid method {cls}.{method}')
    handler = registry.find_method(store.low, found, declared.name)
    if handler is None:
        raise NotSimulated(f'{store.namespace}:{cls}.{declared.name}')
    with host.fabric.lock:
        target = _target(store, path) if path is not None else None
        given: typing.Dict[str, typing.Any] = {}
        for name, kind, array in declared.ins:
            value = args.get(name)
            if value is not None:
                also = _ALSO_TAKEN.get((declared.name, name), '')
                value = (tuple(_incoming(store, kind, one, also)
                               for one in value) if array
                         else _incoming(store, kind, value, also))
            given[name] = value
        call = registry.Call(store, target.cls if target else found,
                             target, declared.name, given)
        return _results(declared, handler(call))


@op('wmi.put', kind='method', label=lambda a: f'{a["cls"]}.put')
def put(host: 'host_module.Host', on: str, ns: str, cls: str, path: str,
        props: Wire) -> Wire:
    """Create (*path* is '') or modify an instance; gives it back."""
    store = _store(host, on, ns)
    found = store.cls(cls)
    handler = registry.find_put(store.low, found)
    if handler is None:
        raise NotSimulated(f'{store.namespace}:{cls}.put()')
    with host.fabric.lock:
        target = _target(store, path) if path else None
        rec = handler(registry.Call(
            store, found, target, 'put',
            store.convert(found, _props(store, found, props)))) or target
        if rec is None:
            raise errors.SchemaError(f'{cls}: put gave no object')
        return rec.wire()


@op('wmi.delete', kind='method', label=lambda a: f'{a["cls"]}.delete')
def delete(host: 'host_module.Host', on: str, ns: str, cls: str,
           path: str) -> None:
    """Delete an instance."""
    store = _store(host, on, ns)
    with host.fabric.lock:
        target = _target(store, path)
        handler = registry.find_delete(store.low, target.cls)
        if handler is None:
            raise NotSimulated(f'{store.namespace}:{cls}.Delete_()')
        handler(registry.Call(store, target.cls, target, 'delete', {}))


@op('wmi.associators', kind='query',
    label=lambda a: f'associators of {a["path"]}')
def associators(host: 'host_module.Host', on: str, ns: str, path: str,
                association: str = '', result: str = ''
                ) -> typing.List[Wire]:
    """What is associated with the instance at *path*."""
    store = _store(host, on, ns)
    source = _target(store, path)
    if result:
        store.cls(result)
    if association:
        registry.refresh(host.peer(on), store.namespace,
                         store.cls(association))
    low = source.path.lower()
    found: typing.Dict[str, engine.Record] = {}
    for link in store.referring(source, association or None):
        for name in link.cls.references:
            other = link.props.get(name)
            if not other or other.lower() == low:
                continue
            rec = store.by_path(other)
            if rec is not None and (not result or rec.cls.is_a(result)):
                found[other.lower()] = rec
    return [engine.wire(rec.cls, rec.path, view) for rec, view in (
        (rec, _view(rec)) for rec in found.values()) if view is not None]


@op('wmi.watch', kind='query', label=lambda a: a['wql'])
def subscribe(host: 'host_module.Host', on: str, ns: str, wql: str) -> int:
    """Subscribe to events; gives the number of the subscription."""
    found = _store(host, on, ns).watches.add(wql)
    return host.keep_watch(found)


@op('wmi.next_event', kind=None, blocking=True)
def next_event(host: 'host_module.Host', watch_id: int, timeout_ms: int
               ) -> Wire:
    """``{'event': instance or None}``, or ``{'ended': quietly}``."""
    one = host.watch(watch_id)
    if one is None:
        return {'ended': False}
    try:
        return {'event': one.next(min(max(timeout_ms, 0) / 1000,
                                      host.fabric.patience_s))}
    except watch.Ended as exc:
        return {'ended': exc.quietly}


@op('wmi.unwatch', kind=None)
def unsubscribe(host: 'host_module.Host', watch_id: int) -> None:
    """Cancel a subscription."""
    host.drop_watch(watch_id)
