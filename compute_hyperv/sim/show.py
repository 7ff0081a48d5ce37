# SPDX-License-Identifier: Apache-2.0
"""Tables of what is on a fabric, for people."""

from __future__ import annotations

import os
import typing

from rich import box
from rich import console as rich_console
from rich import table as rich_table
from rich import text as rich_text

from .wmi import values

Row = typing.Dict[str, typing.Any]
Cell = typing.Union[str, rich_text.Text]
Column = typing.Tuple[str, typing.Callable[[Row], Cell], str]

_STATE_STYLE = {'running': 'green', 'on': 'green', 'off': 'dim',
                'saved': 'yellow', 'paused': 'yellow', 'starting': 'cyan',
                'saving': 'cyan', 'shutting down': 'cyan'}
_JOB_STATES = {2: 'new', 3: 'starting', 4: 'running', 5: 'suspended',
               6: 'shutting down', 7: 'completed', 8: 'terminated',
               9: 'killed', 10: 'failed', 32768: 'done with warnings'}


def size(value: typing.Optional[float]) -> str:
    """Bytes for people: '1.5 GiB'."""
    if value is None:
        return ''
    number, unit = float(value), 'B'
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if abs(number) < 1024 or unit == 'TiB':
            break
        number /= 1024
    return f'{number:.0f} {unit}' if number >= 100 or unit == 'B' else (
        f'{number:.1f} {unit}')


def duration(seconds: float) -> str:
    """A length of time for people: '1h 05m'."""
    whole = int(seconds)
    if whole < 60:
        return f'{whole}s' if whole else ''
    if whole < 3600:
        return f'{whole // 60}m {whole % 60:02d}s'
    if whole < 86400:
        return f'{whole // 3600}h {whole % 3600 // 60:02d}m'
    return f'{whole // 86400}d {whole % 86400 // 3600:02d}h'


def _state(text: str) -> rich_text.Text:
    return rich_text.Text(text, style=_STATE_STYLE.get(text, ''))


def _memory(mib: typing.Optional[float]) -> str:
    return size((mib or 0) * (1 << 20))


def _drives(row: Row) -> str:
    return ', '.join(f'{letter}: {free:.0f}/{total:.0f} GiB' for letter, (
        free, total) in row['volumes'].items())


def _calls(row: Row) -> str:
    counts = row['calls']
    wmi = sum(counts.get(kind, 0)
              for kind in ('query', 'method', 'get', 'ref'))
    return f'{wmi} wmi, {counts.get("dll", 0)} dll'


def _clock(text: typing.Optional[str]) -> str:
    if not text:
        return ''
    return values.python_datetime(text).strftime(    # type: ignore[union-attr]
        '%H:%M:%S')


def _plain(key: str) -> typing.Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row.get(key)
        return '' if value is None else str(value)
    return cell


def _job_state(row: Row) -> Cell:
    state = _JOB_STATES.get(row['state'], str(row['state']))
    if row['state'] == 4 and row['percent'] is not None:
        state += f' {row["percent"]} %'
    return rich_text.Text(state, style='red' if row['state'] == 10 else '')


#: View -> columns: heading, cell, justification.
COLUMNS: typing.Dict[str, typing.List[Column]] = {
    'hosts': [
        ('host', _plain('name'), 'left'),
        ('Windows', lambda r: f'{r["windows"]} ({r["version"]})', 'left'),
        ('power', lambda r: _state(r['power']), 'left'),
        ('cpus', _plain('cpus'), 'right'),
        ('memory used', lambda r: (
            f'{_memory(r["used_mib"])} of {_memory(r["memory_mib"])}'),
         'right'),
        ('VMs', lambda r: f'{r["running"]} of {r["vms"]} running', 'left'),
        ('drives free', _drives, 'left'),
        ('calls', _calls, 'right')],
    'vms': [
        ('host', _plain('host'), 'left'),
        ('VM', _plain('name'), 'left'),
        ('state', lambda r: _state(r['state']), 'left'),
        ('guest', _plain('guest'), 'left'),
        ('up', lambda r: duration(r['uptime_s']), 'right'),
        ('gen', _plain('generation'), 'right'),
        ('cpus', _plain('cpus'), 'right'),
        ('memory', lambda r: _memory(r['memory_mib']), 'right'),
        ('disks', _plain('disks'), 'right'),
        ('NICs', _plain('nics'), 'right'),
        ('notes', lambda r: ' '.join(r['notes']), 'left')],
    'disks': [
        ('host', _plain('host'), 'left'),
        ('VM', _plain('vm'), 'left'),
        ('file', _plain('path'), 'left'),
        ('format', lambda r: ' '.join(filter(None, (
            r.get('format'), r.get('kind')))) or r['type'], 'left'),
        ('size', lambda r: size(r.get('size_bytes')), 'right'),
        ('on disk', lambda r: size(r.get('file_size_bytes')), 'right'),
        ('parent', lambda r: str(
            r.get('parent') or r.get('problem') or ''), 'left')],
    'guest disks': [
        ('address', _plain('address'), 'left'),
        ('bus', _plain('bus'), 'left'),
        ('size', lambda r: size(r['size_bytes']), 'right'),
        ('what', lambda r: (f'volume {r["tag"]}' if r['physical']
                            else r['path']), 'left')],
    'switches': [
        ('host', _plain('host'), 'left'),
        ('switch', _plain('name'), 'left'),
        ('connected', lambda r: '\n'.join(r['connected']), 'left'),
        ('id', _plain('guid'), 'left')],
    'adapters': [
        ('host', _plain('host'), 'left'),
        ('VM', _plain('vm'), 'left'),
        ('adapter', _plain('name'), 'left'),
        ('address', _plain('mac'), 'left'),
        ('switch', _plain('switch'), 'left'),
        ('VLAN', lambda r: str(r['vlan'] or ''), 'right')],
    'jobs': [
        ('host', _plain('host'), 'left'),
        ('job', _plain('what'), 'left'),
        ('state', _job_state, 'left'),
        ('started', lambda r: _clock(r['started']), 'left'),
        ('error', _plain('error'), 'left')],
    'luns': [
        ('unit', _plain('name'), 'left'),
        ('size', lambda r: size(r['size_bytes']), 'right'),
        ('id', _plain('unique_id'), 'left'),
        ('offered as', lambda r: '\n'.join(r['offered']), 'left'),
        ('disks', lambda r: '\n'.join(r['disks']), 'left')],
    'targets': [
        ('target', _plain('iqn'), 'left'),
        ('portals', lambda r: '\n'.join(r['portals']), 'left'),
        ('CHAP user', _plain('chap_user'), 'left'),
        ('units', lambda r: '\n'.join(
            f'{number}: {name}' for number, name in r['luns'].items()),
         'left')],
    'sessions': [
        ('host', _plain('host'), 'left'),
        ('what', _plain('what'), 'left'),
        ('detail', _plain('detail'), 'left')]}

_EMPTY = {'vms': 'no virtual machines', 'disks': 'no disks in use',
          'luns': 'no logical units', 'jobs': 'no jobs',
          'sessions': 'nobody uses the hosts'}

#: View -> columns that a narrow terminal does not get, the first one first.
_SPARED = {'hosts': ('calls', 'drives free'),
           'vms': ('notes', 'NICs', 'disks', 'gen'),
           'disks': ('parent', 'on disk')}
#: Columns whose cells may take several lines if there is no other way.
_FOLDED = ('notes', 'file', 'parent', 'what', 'connected', 'id', 'job',
           'error', 'adapter', 'offered as', 'disks', 'target', 'portals',
           'units', 'detail')
_FOLDED_WIDTH = 12
_UNLIMITED = 10000


def table(view: str, rows: typing.Sequence[Row], width: int = _UNLIMITED
          ) -> typing.Union[rich_table.Table, str]:
    """A view as a table, or a line if there is nothing in it.

    :param width: how many characters a line may have. Columns that can be
        spared are left out until the others fit; the caption names them.
    """
    if not rows:
        return _EMPTY.get(view, f'no {view}')
    wide = rich_console.Console(width=_UNLIMITED)
    left_out: typing.List[str] = []
    found = _table(view, rows, left_out)
    for heading in _SPARED.get(view, ()):
        if wide.measure(found).maximum <= width:
            break
        left_out.append(heading)
        found = _table(view, rows, left_out)
    rigid = _table(view, rows, [*left_out, *_FOLDED])
    if wide.measure(rigid).maximum + _FOLDED_WIDTH > width:
        for column in found.columns:
            column.no_wrap = False
    return found


def _table(view: str, rows: typing.Sequence[Row],
           left_out: typing.Sequence[str]) -> rich_table.Table:
    columns = [one for one in COLUMNS[view] if one[0] not in left_out]
    found = rich_table.Table(box=box.SIMPLE_HEAD, pad_edge=False,
                             show_edge=False, caption_justify='left')
    if left_out:
        found.caption = f'too narrow for: {", ".join(left_out)}'
    for heading, _cell, justify in columns:
        found.add_column(
            heading, justify=typing.cast(typing.Any, justify),
            overflow='fold', no_wrap=heading not in _FOLDED)
    for row in rows:
        found.add_row(*(cell(row) for _name, cell, _side in columns))
    return found


def machine(row: Row) -> rich_table.Table:
    """Everything about one VM, as names and values."""
    found = rich_table.Table(box=None, show_header=False, pad_edge=False)
    found.add_column(style='bold')
    found.add_column(overflow='fold')
    up = duration(row['uptime_s'])
    lines: typing.List[typing.Tuple[str, Cell]] = [
        ('VM', f'{row["name"]} on {row["host"]}'),
        ('id', row['guid']),
        ('state', _state(row['state']) + rich_text.Text(
            f' for {up}' if up else '')),
        ('guest', row['guest'] or 'not up'),
        ('generation', f'{row["generation"]}, version {row["version"]}'),
        ('processors', str(row['cpus'])),
        ('memory', _memory(row['memory_mib'])),
        ('secure boot', 'on' if row['secure_boot'] else 'off'),
        ('folder', row['folder'] or ''),
        ('notes', ' '.join(row['notes']))]
    lines += [('disk' if 'Disk' in one['type'] else 'drive', (
        f'{one["controller"]} {one["slot"]}: {one["path"]}'))
        for one in row['media']]
    lines += [('adapter', (
        f'{one["name"]} {one["mac"]} on {one["switch"] or "no switch"}' +
        (f', VLAN {one["vlan"]}' if one['vlan'] else '')))
        for one in row['adapters']]
    lines += [('serial port', ' '.join(one))
              for one in row['serial'] if any(one)]
    lines += [('boot order', ', '.join(str(one) for one in row['boot']))]
    lines += [('checkpoint', f'{one["name"]} ({_clock(one["created"])})')
              for one in row['snapshots']]
    for name, value in lines:
        found.add_row(name, value)
    return found


def faults(plan: Row) -> typing.Union[rich_table.Table, str]:
    """The fault plan as a table."""
    if not plan['faults'] and not plan['latency_s']:
        return 'no faults planned'
    found = rich_table.Table(box=box.SIMPLE_HEAD, pad_edge=False,
                             show_edge=False)
    for heading in ('no.', 'host', 'kind', 'calls like', 'which', 'effect',
                    'struck'):
        found.add_column(heading)
    for kind, seconds in plan['latency_s'].items():
        found.add_row('', 'all', kind, '*', 'all', f'{seconds} s slower', '')
    for one in plan['faults']:
        which = f'from {one["nth"]} on' if one['times'] is None else (
            str(one['nth']) if one['times'] == 1 else
            f'{one["nth"]} to {one["nth"] + one["times"] - 1}')
        found.add_row(
            str(one['number']), one['host'] or 'all', one['kind'] or 'all',
            one['match'], which, one['effect'], str(one['hits']))
    return found


def console(stderr: bool = False) -> rich_console.Console:
    """Where to print; what is no terminal has $COLUMNS, or is wide."""
    found = rich_console.Console(stderr=stderr, highlight=False)
    if not found.is_terminal and not os.environ.get('COLUMNS', '').isdigit():
        found = rich_console.Console(
            stderr=stderr, highlight=False, width=160)
    return found
