"""Reading a CSV file of text cells that may hold anything: it is read, or refused in one line."""

from __future__ import annotations

import os
import warnings
from typing import TextIO

import pandas as pd

from leukemia_tf.data.names import show
from leukemia_tf.errors import InputError


def read_text_csv(
    source: str | os.PathLike | TextIO, where: str | os.PathLike, *, skip_spaces: bool = True
) -> pd.DataFrame:
    """Read a CSV file (UTF-8 with or without a byte order mark, commas; perhaps `.gz`); every cell is text.

    Args:
        source: the file, or an open text stream.
        where: how the message names it.
        skip_spaces: drop spaces after a comma, as people write them; False where the file is a program's.

    Raises:
        InputError: if it cannot be read, is not UTF-8, or a row has more fields than the header.
    """
    try:
        with warnings.catch_warnings():
            # A row with more fields than the header; without index_col=False its first field would become an index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                source,
                dtype="str",
                keep_default_na=False,
                encoding=getattr(source, "encoding", "utf-8-sig"),
                skipinitialspace=skip_spaces,
                index_col=False,
            )
    # EmptyDataError, ParserError and UnicodeDecodeError are ValueErrors, EOFError is a gzip file cut short.
    except (ValueError, EOFError, pd.errors.ParserWarning) as error:
        raise InputError(
            f"`{where}` must be a CSV file in UTF-8 with commas; received: {show(' '.join(str(error).split()))}"
        ) from error
    except OSError as error:
        raise InputError(f"`{where}` cannot be read; received: {error.strerror or error}") from error
    # A row with too few fields is padded with NaN even with keep_default_na=False.
    return frame.fillna("")
