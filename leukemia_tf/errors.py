"""The two errors that a user sees, each with the exit code of the command that met it."""

from __future__ import annotations


class LeukemiaTFError(Exception):
    """Base of the errors that the command shows as plain lines, without a traceback."""

    exit_code = 1


class InputError(LeukemiaTFError, ValueError):
    """Bad input or wrong use: a missing folder, a broken image, an unknown name. Exit code 2.

    The message names the argument or file in backticks, says what is accepted, and ends with what was received.
    """

    exit_code = 2


class RunError(LeukemiaTFError, RuntimeError):
    """A run or a check failed: the loss is NaN, a subject lies in two splits, the disk is full. Exit code 1."""

    exit_code = 1
