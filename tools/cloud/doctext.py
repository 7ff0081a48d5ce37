# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation, as data.

``.. code-block:: LANGUAGE`` gives an example of that language. A comment
``.. examples set-up`` holds console lines that no reader sees. What is done
with which language:

==========  ===========================================================
console     run against a cloud, by ``tools/demo check``
ini         read with oslo.config, by tests/unit/test_examples.py
python      doctest, or compiled, by the same
powershell  for people: nothing here runs it
text        not run
==========  ===========================================================

In console blocks ``$`` is the prompt of the cloud's administrator, ``web$``
that of the guest of the server web. A command goes on in the next line after
a backslash, a pipe, or in quotes. Output that is given must be that of the
command; ``...`` stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import pathlib
import re
import textwrap

CONSOLE, INI, PYTHON = 'console', 'ini', 'python'
LANGUAGES = (CONSOLE, INI, PYTHON, 'powershell', 'text')
_BLOCK = re.compile(r'( *)\.\. (?:code-block:: (\S+)|(examples set-up))$')
_PROMPT = re.compile(r'([\w-]*)\$ (.*)$')
_TOCTREE = re.compile(r'^\.\. toctree::\n(?:   :.*\n)*\n((?:   \S+\n)+)', re.M)


@dataclasses.dataclass(frozen=True)
class Example:
    """One block.

    :ivar line: number of its first line in the file.
    """

    path: pathlib.Path
    line: int
    language: str
    text: str


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a console block.

    :ivar guest: the server in which it runs; '' for the administrator's.
    :ivar expected: the output, '' if the page gives none.
    """

    path: pathlib.Path
    line: int
    guest: str
    text: str
    expected: str


def examples(path: pathlib.Path) -> Iterator[Example]:
    """The blocks of a page, in order."""
    lines = path.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines):
        found = _BLOCK.match(line)
        if found is None:
            continue
        indent, language, _set_up = found.groups()
        begin = number + 1
        while begin < len(lines) and not lines[begin].strip():
            begin += 1
        end = begin
        while end < len(lines) and (not lines[end].strip() or lines[
                end].startswith(f'{indent}   ')):
            end += 1
        text = textwrap.dedent('\n'.join(lines[begin:end])).strip()
        yield Example(path, begin + 1, language or CONSOLE, text + '\n')


def commands(example: Example) -> Iterator[Command]:
    """The commands of a console block.

    :raises ValueError: it does not begin with a prompt, or ends in the
        middle of a command.
    """
    lines = example.text.splitlines()
    number = 0
    while number < len(lines):
        found = _PROMPT.match(lines[number])
        if found is None:
            raise ValueError(f'{example.path.name}, line '
                             f'{example.line + number}: no prompt')
        guest, text = found.groups()
        first = number
        number += 1
        while _goes_on(text):
            if number == len(lines):
                raise ValueError(f'{example.path.name}, line '
                                 f'{example.line + first}: no end')
            text += '\n' + lines[number]
            number += 1
        begin = number
        while number < len(lines) and not _PROMPT.match(lines[number]):
            number += 1
        yield Command(example.path, example.line + first, guest, text,
                      '\n'.join(lines[begin:number]).strip())


def _goes_on(text: str) -> bool:
    return text.endswith(('\\', '|')) or text.count("'") % 2 == 1


def pages(folder: pathlib.Path) -> list[pathlib.Path]:
    """The pages that index.rst names, in its order."""
    text = (folder / 'index.rst').read_text(encoding='utf-8')
    names = [name.strip() for tree in _TOCTREE.findall(text)
             for name in tree.splitlines()]
    return [folder / f'{name}.rst' for name in names]
