# SPDX-License-Identifier: Apache-2.0
"""A small client of the OpenStack APIs, for the program's own needs.

The person gets the ordinary ``openstack`` client; this one exists because
each start of that takes more than a second.
"""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
import urllib.error
import urllib.request

from cloud import errors
from cloud import layout as layouts

_PATHS = {'keystone': '/v3', 'placement': '', 'glance': '/v2',
          'neutron': '/v2.0', 'nova': '/v2.1', 'cinder': '/v3'}
_TIMEOUT_S = 120
#: Loopback only: a proxy of the person's environment must not see it.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(errors.DemoError):
    """An API refused a request.

    :ivar status: the HTTP status, 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Requests as the user admin of the project admin."""

    def __init__(self, settings: layouts.Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ''
        self._user_id = self._project_id = ''

    def get(self, service: str, path: str) -> Any:
        """The JSON answer of GET."""
        return self.call('GET', service, path)

    def post(self, service: str, path: str, body: object = None) -> Any:
        """The JSON answer of POST."""
        return self.call('POST', service, path, body)

    def find(self, service: str, path: str, kind: str,
             **equals: object) -> dict[str, Any] | None:
        """The first entry of a listing with these values, or ``None``."""
        for entry in self.get(service, path)[kind]:
            if all(entry.get(key) == value for key, value in equals.items()):
                return dict(entry)
        return None

    def ensure(self, service: str, path: str, kinds: str, kind: str,
               named: dict[str, object], more: dict[str, object] | None = None,
               ) -> dict[str, Any]:
        """The entry with these values, made if there is none."""
        found = self.find(service, path, kinds, **named)
        if found is None:
            body = {kind: {**named, **(more or {})}}
            found = self.post(service, path, body)[kind]
        return dict(found)

    def login(self) -> tuple[str, str]:
        """Log in once.

        :returns: the ids of the user and of the project.
        """
        with self._lock:
            if not self._token:
                answer, headers = self._send(
                    'POST', 'keystone', '/auth/tokens', _password(
                        self._settings.admin_password))
                self._token = headers['X-Subject-Token']
                self._user_id = answer['token']['user']['id']
                self._project_id = answer['token']['project']['id']
        return self._user_id, self._project_id

    def call(self, method: str, service: str, path: str,
             body: object = None, headers: dict[str, str] | None = None
             ) -> Any:
        """One request; *body* is JSON unless it is bytes.

        :raises ApiError: the service refused or did not answer.
        """
        self.login()
        return self._send(method, service, path, body, headers)[0]

    def _send(self, method: str, service: str, path: str,
              body: object = None, headers: dict[str, str] | None = None
              ) -> tuple[Any, Any]:
        raw = isinstance(body, bytes)
        data = body if raw else json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            self._settings.url(service, _PATHS[service] + path),
            data=data, method=method, headers={
                'Content-Type': 'application/octet-stream' if raw
                else 'application/json', 'Accept': 'application/json',
                'X-Auth-Token': self._token, **(headers or {})})
        what = f'{service}: {method} {path}'
        try:
            with OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                text = answer.read()
                return json.loads(text) if text else None, answer.headers
        except urllib.error.HTTPError as exc:
            reason = exc.read().decode('utf-8', 'replace')[:400]
            raise ApiError(f'{what}: {exc.code} {reason}', exc.code) from exc
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise ApiError(f'{what}: {exc}') from exc


def answers(url: str) -> bool:
    """Whether a service answers HTTP requests without an error of its own."""
    try:
        with OPENER.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as exc:
        return exc.code < 500
    except (OSError, http.client.HTTPException):
        return False


def _password(password: str) -> dict[str, object]:
    domain = {'id': 'default'}
    user = {'name': 'admin', 'domain': domain, 'password': password}
    return {'auth': {
        'identity': {'methods': ['password'], 'password': {'user': user}},
        'scope': {'project': {'name': 'admin', 'domain': domain}}}}
