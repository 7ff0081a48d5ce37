# SPDX-License-Identifier: Apache-2.0
"""Jobs as WMI shows them: progress, errors, cancelling (section 3)."""

from __future__ import annotations

import typing

from .. import jobs
from . import engine
from . import values

if typing.TYPE_CHECKING:
    from ..host import Host


@engine.method(jobs.V2, 'CIM_ConcreteJob', 'RequestStateChange')
def request_state_change(call: engine.Call) -> int:
    """Terminate (4) or kill (5) a job; nothing else is possible here."""
    wanted = call.args['RequestedState']
    if wanted not in (4, 5):
        return 1
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
