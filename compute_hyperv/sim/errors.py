# SPDX-License-Identifier: Apache-2.0
"""What goes wrong at the Windows boundary.

::

    x_wmi               a WMI call failed; .com_error.hresult says how
      x_wmi_timed_out   no event within the time given
    Win32Error          a Win32 call or file operation failed (OSError)
    NotSimulated        the simulator was asked for what it does not do
    SchemaError         a provider broke the schema: a fault of ours
"""

from __future__ import annotations

import types
import typing

from .winerror import WinError as Win32Error

__all__ = ('NotSimulated', 'SchemaError', 'Win32Error', 'fail', 'x_wmi',
           'x_wmi_timed_out')

# WBEMSTATUS values (wbemcli.h) and others that reach os-win.
WBEM_E_FAILED = 0x80041001
WBEM_E_NOT_FOUND = 0x80041002
WBEM_E_ACCESS_DENIED = 0x80041003
WBEM_E_PROVIDER_FAILURE = 0x80041004
WBEM_E_TYPE_MISMATCH = 0x80041005
WBEM_E_INVALID_PARAMETER = 0x80041008
WBEM_E_INVALID_NAMESPACE = 0x8004100E
WBEM_E_INVALID_CLASS = 0x80041010
WBEM_E_INVALID_QUERY = 0x80041017
WBEM_E_ALREADY_EXISTS = 0x80041019
WBEM_E_PROVIDER_NOT_CAPABLE = 0x80041024
WBEM_E_CALL_CANCELLED = 0x80041032
WBEM_E_INVALID_METHOD = 0x8004102E
WBEM_E_INVALID_OBJECT_PATH = 0x8004103A
WBEM_E_TIMED_OUT = 0x80043001
RPC_S_SERVER_UNAVAILABLE = 0x800706BA
E_INVALIDARG = 0x80070057

_TEXTS = {
    WBEM_E_FAILED: 'Generic failure',
    WBEM_E_NOT_FOUND: 'Not found',
    WBEM_E_ACCESS_DENIED: 'Access denied',
    WBEM_E_PROVIDER_FAILURE: 'Provider failure',
    WBEM_E_TYPE_MISMATCH: 'Type mismatch',
    WBEM_E_INVALID_PARAMETER: 'Invalid parameter',
    WBEM_E_INVALID_NAMESPACE: 'Invalid namespace',
    WBEM_E_INVALID_CLASS: 'Invalid class',
    WBEM_E_INVALID_QUERY: 'Invalid query',
    WBEM_E_ALREADY_EXISTS: 'Object already exists',
    WBEM_E_PROVIDER_NOT_CAPABLE: 'Provider is not capable of the operation',
    WBEM_E_CALL_CANCELLED: 'Call canceled',
    WBEM_E_INVALID_METHOD: 'Invalid method',
    WBEM_E_INVALID_OBJECT_PATH: 'Invalid object path',
    WBEM_E_TIMED_OUT: 'Timed out',
    RPC_S_SERVER_UNAVAILABLE: 'The RPC server is unavailable.',
    E_INVALIDARG: 'The parameter is incorrect.',
}


class x_wmi(Exception):     # noqa: N801 - PyMI's name
    """PyMI's exception for everything that fails in WMI.

    :ivar com_error: ``hresult`` (signed, 32 bits), ``strerror``,
        ``argerror`` and ``excepinfo`` = ``(0, None, message, None, None,
        hresult)``.
    """

    def __init__(self, info: object = '',
                 com_error: typing.Any = None) -> None:
        super().__init__(info)
        self.info = info
        self.com_error = com_error


class x_wmi_timed_out(x_wmi):   # noqa: N801 - PyMI's name
    """No event came within the time that the caller gave."""


class NotSimulated(Exception):
    """The simulator was asked for something that it does not simulate.

    An Exception, because a BaseException would end a test run; os-win's
    listeners swallow those, so the fabric also records each of them
    (``fabric.not_simulated``) and ``fabric.problems()`` reports them.
    """


class SchemaError(Exception):
    """A provider used a class or property that the schema lacks."""


def wmi_error(hresult: int, text: str = '') -> x_wmi:
    """The x_wmi for an unsigned *hresult*."""
    message = text or _TEXTS.get(hresult, 'WMI error')
    # NetworkUtils looks for '0x80070057' in the text of the exception.
    message = f'{message} (0x{hresult:08X})'
    signed = hresult - (1 << 32) if hresult >> 31 else hresult
    error = types.SimpleNamespace(
        hresult=signed, strerror=message, argerror=None,
        excepinfo=(0, None, message, None, None, signed))
    if hresult == WBEM_E_TIMED_OUT:
        return x_wmi_timed_out(message, error)
    return x_wmi(message, error)


def fail(hresult: int, text: str = '') -> typing.NoReturn:
    """Raise x_wmi.

    :param hresult: unsigned, such as ``WBEM_E_NOT_FOUND``.
    """
    raise wmi_error(hresult, text)
