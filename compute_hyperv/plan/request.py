# SPDX-License-Identifier: Apache-2.0
"""What was asked for: flavor extra specs and image properties, and refusals.

Nova's image metadata object drops properties that Nova does not know, so
those of our own are read from ``instance.system_metadata``, where the API
keeps every property of the image as ``image_<name>``.
"""

from __future__ import annotations

import collections.abc
import functools

from nova import exception
from nova import objects

#: Windows counts in 64 bits; more is a mistake in any case.
LARGEST = (1 << 63) - 1


class Request:
    """One instance's flavor and image, as the planners read them."""

    def __init__(self, instance: objects.Instance,
                 image_meta: objects.ImageMeta) -> None:
        """Read-only view.

        :param instance: its ``flavor`` and ``system_metadata`` are used.
        :param image_meta: the image that is booted; of a volume-backed
            instance that of the volume.
        """
        self.instance = instance
        self._image_meta = image_meta

    @property
    def image_id(self) -> str:
        """Id of the image; empty when booting from a volume."""
        return self._find_image_field('id') or ''

    @property
    def disk_format(self) -> str:
        """Glance's ``disk_format``, lower case; empty if unknown."""
        return (self._find_image_field('disk_format') or '').lower()

    def _find_image_field(self, name: str) -> str | None:
        if name not in self._image_meta:
            return None
        value = getattr(self._image_meta, name)
        return None if value is None else str(value)

    def find_spec(self, name: str) -> str | None:
        """A flavor extra spec without surrounding blanks."""
        value = self.instance.flavor.extra_specs.get(name)
        return None if value is None else str(value).strip()

    def find_property(self, name: str) -> str | None:
        """An image property as text; Nova's own ones and ours."""
        value = None
        if 'properties' in self._image_meta:
            properties = self._image_meta.properties
            if name in properties.fields:
                value = properties.get(name)
        if value is None:
            value = self.instance.system_metadata.get(f'image_{name}')
        return None if value is None else str(value).strip()

    def find_spec_choice(self, name: str,
                         allowed: collections.abc.Collection[str]
                         ) -> str | None:
        """A spec that has a closed set of values, lower case.

        :raises nova.exception.InvalidInput: another value is given.
        """
        return _choice(self.find_spec(name), allowed,
                       functools.partial(bad_spec, name))

    def find_property_choice(self, name: str,
                             allowed: collections.abc.Collection[str]
                             ) -> str | None:
        """A property that has a closed set of values, lower case.

        :raises nova.exception.ImageUnacceptable: another value is given.
        """
        return _choice(self.find_property(name), allowed,
                       functools.partial(self.bad_property, name))

    def find_spec_int(self, name: str, *, minimum: int) -> int | None:
        """A whole number of a spec.

        :raises nova.exception.InvalidInput: not a number, too small, or
            more than anybody counts.
        """
        value = self.find_spec(name)
        if value is None or value == '':
            return None
        try:
            number = int(value)
        except ValueError as exc:
            raise bad_spec(name, value, 'a whole number') from exc
        if number < minimum:
            raise bad_spec(name, value, f'{minimum} or more')
        if number > LARGEST:
            raise bad_spec(name, value, f'{minimum} to {LARGEST}')
        return number

    def bad_property(self, name: str, value: str,
                     allowed: str) -> exception.ImageUnacceptable:
        """The refusal of an image for one of its properties."""
        return exception.ImageUnacceptable(
            image_id=self.image_id,
            reason=f'image property {name}={value}; allowed: {allowed}')


def _choice(value: str | None, allowed: collections.abc.Collection[str],
            refusal: collections.abc.Callable[[str, str], Exception]
            ) -> str | None:
    """One of a closed set of values, lower case; None if none is given."""
    if value is None or value == '':
        return None
    if value.lower() not in allowed:
        raise refusal(value, ', '.join(sorted(allowed)))
    return value.lower()


def bad_spec(name: str, value: str, allowed: str) -> exception.InvalidInput:
    """The refusal of a flavor for one of its extra specs."""
    return exception.InvalidInput(
        reason=f'flavor extra spec {name}={value}; allowed: {allowed}')


def conflict(text: str) -> exception.InvalidInput:
    """The refusal of a combination that no host can run."""
    return exception.InvalidInput(reason=text)


def host_cannot(text: str) -> exception.ComputeResourcesUnavailable:
    """The refusal of what another host may be able to run."""
    return exception.ComputeResourcesUnavailable(reason=text)
