"""File names from elsewhere: how to print them in one line, and which are refused."""

from __future__ import annotations

import os
import unicodedata

from leukemia_tf.errors import InputError

# What the common file systems take: 255 bytes a name; a whole path that every tool can open.
MAX_NAME = 255
MAX_PATH = 1024
_SHOWN = 200


def show(name: str | os.PathLike, limit: int = _SHOWN) -> str:
    """Return a name fit for one line: control characters and undecodable bytes escaped, the middle of long ones cut."""
    text = "".join(c if _is_plain(c) else c.encode("unicode_escape").decode("ascii") for c in os.fspath(name))
    if len(text) > limit:
        half = (limit - 3) // 2
        text = f"{text[:half]}...{text[-half:]}"
    return text


def name_problem(path: str) -> str:
    """Say what is wrong with a relative or absolute path as a name, or return "" for a good one.

    Control characters and line breaks, bytes that are not UTF-8, a name of more than 255 bytes, and a path of more
    than 1,024 are wrong: they break tables, logs or the next file system.
    """
    if not path:
        return "an empty name"
    if path.isascii() and path.isprintable() and len(path) <= MAX_NAME:
        return ""  # nearly every name, in a hundredth of the time: a table may have millions
    return _problem(path)


def _problem(path: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in path):
        return "bytes that are not UTF-8"
    if not all(_is_plain(character) for character in path):
        return "a control character or a line break"
    encoded = path.encode("utf-8")
    if any(len(part) > MAX_NAME for part in encoded.split(b"/")):
        return f"a name longer than {MAX_NAME} bytes"
    if len(encoded) > MAX_PATH:
        return f"a path longer than {MAX_PATH:,} bytes"
    return ""


def check_names(paths: list[str], where: str) -> None:
    """Refuse names that no table or log can hold.

    Raises:
        InputError: one line for each, escaped so that it is one line.
    """
    problems = [(path, name_problem(path)) for path in paths]
    lines = [f"`{show(path)}`: rename the file; received {problem}" for path, problem in problems if problem]
    if lines:
        raise InputError("\n".join([f"`{show(where)}`: {len(lines)} file names cannot be used:", *lines]))


def _is_plain(character: str) -> bool:
    # Cc control, Cs undecodable byte, Zl and Zp line and paragraph separators; and what turns the writing direction
    # around, which can make a name read as another.
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return False
    return character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
