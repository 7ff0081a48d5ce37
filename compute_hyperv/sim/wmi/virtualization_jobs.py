# SPDX-License-Identifier: Apache-2.0
"""Jobs as WMI shows them: progress, errors, cancelling (section 3)."""

from __future__ import annotations

import typing

from .. import jobs
from . import engine
from . import values

if typing.TYPE_CHECKING:
    from ..host import Host


_START = 2
_REQUESTS = frozenset((_START, 3, 4, 5, 6))
_NOT_SUPPORTED, _INVALID_PARAMETER = 1, 5
_INVALID_TRANSITION, _NO_TIMEOUT = 4097, 4098


@engine.method(jobs.V2, 'CIM_ConcreteJob', 'RequestStateChange')
def request_state_change(call: engine.Call) -> int:
    """Terminate (4) or kill (5) a job; nothing else is possible here.

    :returns: 5 no such state, 4098 for a timeout, 4097 the job has ended
        (or runs already, 2), 1 for suspend (3) and service (6)
    """
    wanted = call.args['RequestedState']
    if wanted not in _REQUESTS:
        return _INVALID_PARAMETER
    if call.args['TimeoutPeriod']:
        return _NO_TIMEOUT
    if wanted == _START or call.host.jobs.has_ended(call.record):
        return _INVALID_TRANSITION
    if wanted not in (4, 5):
        return _NOT_SUPPORTED
    return call.host.jobs.kill(call.record,
                               jobs.TERMINATED if wanted == 4 else jobs.KILLED)


@engine.method(jobs.V2, 'CIM_ConcreteJob', 'GetErrorEx')
def get_error_ex(call: engine.Call) -> dict[str, typing.Any]:
    """The errors of a job, each as the text of one Msvm_Error."""
    job = call.record
    if not job['ErrorCode']:
        return {'Errors': ()}
    error = call.store.embedded(
        'Msvm_Error', ErrorType=0, OwningEntity='Hyper-V',
        Message=job['ErrorDescription'], CIMStatusCode=1,
        ErrorSource=job.path)
    return {'Errors': (error.text(),)}


@engine.method(jobs.V2, 'CIM_ConcreteJob', 'GetError')
def get_error(call: engine.Call) -> dict[str, typing.Any]:
    """The first error of a job, or null."""
    errors = get_error_ex(call)['Errors']
    return {'Error': errors[0] if errors else None}


@engine.computed(jobs.V2, 'CIM_ConcreteJob', 'PercentComplete', 'ElapsedTime')
def progress(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Progress by the clock while the job runs."""
    elapsed_s = host.jobs.elapsed_s(record)
    if elapsed_s is None:
        return {}
    return {'PercentComplete': host.jobs.percent(record),
            'ElapsedTime': values.cim_interval(elapsed_s)}
