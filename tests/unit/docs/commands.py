"""Commands of `twinward` as they are written in documents, and whether click knows them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from twinward.__main__ import main

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "twinward" / "error_codes.md",
    }
)
_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(twinward .*)$", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`(twinward(?: [^`]*)?)`(?!`)")
_ENDS = {"&", "&&", "|", ";", ">", "2>", "<"}


@dataclass(frozen=True)
class Written:
    """One command as a document shows it; ``whole`` when a reader can run it as it stands."""

    document: Path
    text: str
    whole: bool

    def __str__(self):
        return f"{self.document.name}: {self.text}"


def written_in(document):
    """Every command in a document: lines of code blocks are whole, words in a sentence are not."""
    text = document.read_text(encoding="utf-8")
    blocks = [block.replace("\\\n", " ") for block in _FENCE.findall(text)]
    for block in [*blocks, *_INDENTED.findall(_FENCE.sub("", text))]:
        for line in block.splitlines():
            words = line.strip().removeprefix("$ ")
            if re.match(r"(?:[A-Z_]+=\S+ )*twinward( |$)", words):
                yield Written(document, words[words.index("twinward") :], whole=True)
    for words in _INLINE.findall(_FENCE.sub("", text)):
        for alternative in _alternatives(words):
            yield Written(document, alternative, whole=False)


def _alternatives(words):
    """``a b|c`` and ``a b | c`` in a sentence mean ``a b`` and ``a c``."""
    first, *others = re.split(r" ?\| ?", words)
    yield first
    for other in others:
        yield " ".join([*first.split()[:-1], other])


def fault_in(written):
    """Why click would refuse the command; None if it would not."""
    words = shlex.split(written.text, comments=True)[1:]
    for end, word in enumerate(words):
        if word in _ENDS:
            words = words[:end]
            break
    command, context = main, click.Context(main, info_name="twinward")
    while isinstance(command, click.Group):
        default = getattr(command, "default", None)  # the command whose name need not be said
        named = words and words[0] in command.list_commands(context)
        if default is not None and not named:
            words = [default, *words]
        if not words or words[0].startswith("-"):
            break
        if words[0].isupper():  # a placeholder for a command
            return None
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no command `{words[0]}`"
        command, context, words = found, click.Context(found, parent=context), words[1:]
    return _fault_in_words(command, context, words, whole=written.whole)


def _fault_in_words(command, context, words, *, whole):
    try:
        values, rest, _ = command.make_parser(context).parse_args(words)
        for parameter in command.get_params(context):
            given = _is_given(values.get(parameter.name))
            if given and not isinstance(parameter.type, click.Path):
                parameter.type_cast_value(context, values[parameter.name])
    except click.UsageError as error:
        return error.format_message()
    if rest:
        return f"`{' '.join(rest)}` is too much"
    if whole and isinstance(command, click.Group) and not words:
        return "a command is missing"
    if not whole:
        return None
    missing = [
        parameter.human_readable_name
        for parameter in command.get_params(context)
        if parameter.required and not _is_given(values.get(parameter.name))
    ]
    return f"missing: {', '.join(missing)}" if missing else None


def _is_given(value):
    return not (value is None or value == () or type(value).__name__ == "Sentinel")
