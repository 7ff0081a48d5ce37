# SPDX-License-Identifier: Apache-2.0
"""Instances as text, the way ``GetText_`` writes them (CIM-XML).

Null properties are left out: in a settings text they mean "unchanged".
"""

from __future__ import annotations

import typing
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape
from xml.sax.saxutils import quoteattr

from .. import errors
from ..errors import fail
from . import values
from .schema import ClassDef
from .schema import PropDef

Props = typing.Dict[str, typing.Any]
# A parser turns a bare carriage return into a line feed.
_ENTITIES = {'\r': '&#13;'}


def _value(value: typing.Any) -> str:
    if value is True or value is False:
        text = 'TRUE' if value else 'FALSE'
    elif hasattr(value, 'text'):
        text = value.text()
    else:
        text = str(value)
    return f'<VALUE>{escape(text, _ENTITIES)}</VALUE>'


def _property(prop: PropDef, value: typing.Any) -> str:
    head = f'NAME={quoteattr(prop.name)} TYPE="'
    head += 'string" EmbeddedObject="object"' if prop.embedded else (
        prop.type + '"')
    if not prop.array:
        return f'<PROPERTY {head}>{_value(value)}</PROPERTY>'
    items = ''.join(map(_value, value))
    return (f'<PROPERTY.ARRAY {head}><VALUE.ARRAY>{items}</VALUE.ARRAY>'
            '</PROPERTY.ARRAY>')


def dump(cls: ClassDef, props: Props) -> str:
    """The text of an instance; *props* in kept form."""
    body = ''.join(_property(cls.props[name], value)
                   for name, value in props.items() if value is not None)
    return f'<INSTANCE CLASSNAME={quoteattr(cls.name)}>{body}</INSTANCE>'


class _Text:
    """An embedded instance that arrived as text."""

    def __init__(self, cls: ClassDef, props: Props) -> None:
        self.cls = cls
        self.props = props

    def text(self) -> str:
        return dump(self.cls, self.props)

    def wire(self) -> Props:
        return {'class': self.cls.name, 'path': '', 'props': self.props}


def load(find: typing.Callable[[str], ClassDef], text: str
         ) -> typing.Tuple[ClassDef, Props]:
    """The class and the properties that *text* holds.

    :param find: gives a class by name or raises x_wmi.
    :raises x_wmi: the text does not parse, or its properties do not fit.
    """
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, TypeError):
        fail(errors.WBEM_E_INVALID_PARAMETER, 'not the text of an instance')
    cls = find(root.get('CLASSNAME', ''))
    props = {}
    for element in root:
        prop = cls.prop(element.get('NAME', ''))
        if prop is None:
            fail(errors.WBEM_E_NOT_FOUND,
                 f'{cls.name} has no {element.get("NAME")}')
        texts = [one.text or '' for one in element.iter('VALUE')]
        found: typing.List[typing.Any] = list(texts)
        if prop.embedded:
            found = [_Text(*load(find, one)) for one in texts]
        try:
            props[prop.name] = values.convert(
                prop.type, prop.array,
                found if prop.array else found[0] if found else None)
        except (TypeError, ValueError) as exc:
            fail(errors.WBEM_E_TYPE_MISMATCH, f'{cls.name}.{prop.name}: {exc}')
    return cls, props
