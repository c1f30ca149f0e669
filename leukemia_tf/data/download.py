"""One file over HTTPS: resumed where it stopped, checked against its size and checksum, in place when complete."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import os
import pathlib
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Iterator, Sequence

from leukemia_tf import __version__
from leukemia_tf.data.names import show
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import explain_write_errors, write_json

try:
    import fcntl
except ImportError:  # Windows has no such locks; two downloads of one file at once are then the user's to avoid.
    fcntl = None

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TIMEOUT = 60.0
_TRIES = 4
_BUSY = {408, 425, 429, 500, 502, 503, 504}


def download_file(
    url: str,
    target: str | os.PathLike,
    *,
    size: int | None = None,
    md5: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
    handlers: Sequence[urllib.request.BaseHandler] = (),
    wait: float = 1.0,
) -> pathlib.Path:
    """Download a file; what an earlier, broken call left in `<target>.part` is gone on with.

    A connection that breaks is taken up again, up to four times without progress. A target that is there and fits is
    left as it is.

    Args:
        url: https:// only, and so is every address that it leads on to.
        target: the file; its folder is made.
        size: bytes, if known.
        md5: hexadecimal, if published.
        sha256: hexadecimal, if published.
        progress: show progress on a terminal; one line otherwise.
        handlers: further `urllib.request` handlers (a proxy, certificates of one's own).
        wait: seconds before the second try; doubled before each further one.

    Returns:
        The target.

    Raises:
        InputError: for an address that is not HTTPS, or a target that is there and is another file.
        RunError: if the server refuses or cannot be reached, the connection ends early, size or checksum are wrong,
            or the disk is full. What has arrived stays for the next call, unless its checksum is wrong.
    """
    target = pathlib.Path(target)
    _require_https(url)
    expected = {"size": size, "md5": md5, "sha256": sha256}
    if target.exists():
        wrong = check_file(target, **expected)
        if wrong:
            raise InputError(f"`{target}` is there and is another file: move it away; received {'; '.join(wrong)}")
        log.info("`%s` is there already", target)
        return target
    part = target.with_name(target.name + ".part")
    opener = urllib.request.build_opener(_HttpsOnly, *handlers)
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as stream, _locked(stream, part):
            _receive(opener, url, stream, part, size, progress, wait)
            stream.flush()
            os.fsync(stream.fileno())
        wrong = check_file(part, **expected)
        if wrong:
            part.unlink()
            _state_file(part).unlink(missing_ok=True)
            raise RunError(
                f"`{show(url)}`: the file that arrived is not the published one and was deleted; {'; '.join(wrong)}"
            )
        os.replace(part, target)
        _state_file(part).unlink(missing_ok=True)
    return target


def check_file(
    file: str | os.PathLike, *, size: int | None = None, md5: str | None = None, sha256: str | None = None
) -> list[str]:
    """Return one phrase for each of size, MD5 and SHA-256 that is given and that the file does not have."""
    file = pathlib.Path(file)
    found = file.stat().st_size
    if size is not None and found != size:
        return [f"it has {found:,} bytes, not {size:,}"]
    wrong = []
    digests = {"md5": (md5, hashlib.md5(usedforsecurity=False)), "sha256": (sha256, hashlib.sha256())}
    digests = {name: pair for name, pair in digests.items() if pair[0]}
    if digests:
        with open(file, "rb") as stream:
            while data := stream.read(_CHUNK):
                for _, digest in digests.values():
                    digest.update(data)
    for name, (published, digest) in digests.items():
        if digest.hexdigest() != published.lower():
            wrong.append(f"its {name} is {digest.hexdigest()}, not {published}")
    return wrong


def read_json_from(url: str, *, limit: int = 10_000_000, handlers: Sequence[urllib.request.BaseHandler] = ()) -> Any:
    """Read a JSON document over HTTPS, at most `limit` bytes.

    Raises:
        InputError: for an address that is not HTTPS.
        RunError: if it cannot be had or is no JSON.
    """
    _require_https(url)
    opener = urllib.request.build_opener(_HttpsOnly, *handlers)
    try:
        with _open(opener, url, {"Accept": "application/json"}) as answer:
            return json.loads(answer.read(limit))
    except ValueError as error:
        raise RunError(f"`{show(url)}` must answer with JSON; received: {show(str(error))}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise RunError(f"`{show(url)}` cannot be read: {_reason(error)}") from error


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https:// only."""

    def redirect_request(self, request, file, code, message, headers, url):
        _require_https(url, led_from=request.full_url)
        return super().redirect_request(request, file, code, message, headers, url)


def _require_https(url: str, led_from: str = "") -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise InputError(f"`url` must be an https:// address ({error}); received `{show(url)}`") from error
    if parts.scheme != "https" or not parts.hostname:
        what = f"`{show(led_from)}` leads to an address that is not HTTPS" if led_from else "`url` must be https://"
        raise InputError(f"{what}; received `{show(url)}`")


def _open(opener: urllib.request.OpenerDirector, url: str, headers: dict[str, str]):
    headers = {"User-Agent": f"leukemia_tf/{__version__}", "Accept-Encoding": "identity", **headers}
    return opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)


def _receive(opener, url: str, stream, part: pathlib.Path, size: int | None, progress: bool, wait: float) -> None:
    """Fill the part file, over as many connections as it takes."""
    tries, reason = 0, ""
    while tries < _TRIES:
        before = stream.seek(0, os.SEEK_END)
        if size is not None and before >= size:
            return
        if tries:
            log.warning("`%s`: %s; try %d of %d", show(url), reason, tries + 1, _TRIES)
            time.sleep(wait * 2 ** (tries - 1))
        try:
            if _one_connection(opener, url, stream, part, size, progress):
                return
            reason = f"the connection ended after {stream.tell():,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _BUSY:
                raise RunError(f"`{show(url)}` cannot be downloaded: {_reason(error)}") from error
            reason = _reason(error)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = _reason(error)
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise RunError(f"`{show(url)}` cannot be downloaded: {reason}") from error
        tries = 0 if stream.seek(0, os.SEEK_END) > before else tries + 1
        tries = max(tries, 1)
    raise RunError(
        f"`{show(url)}` cannot be downloaded: {reason}. {stream.tell():,} bytes are in `{part}`; the same command "
        "goes on from there"
    )


def _one_connection(opener, url: str, stream, part: pathlib.Path, size: int | None, progress: bool) -> bool:
    """Append what one connection gives; True when the file is complete."""
    have, state = stream.tell(), _read_state(part)
    headers = {}
    if have and state.get("url") == url and state.get("tag"):
        # A strong tag or a date: were the file another one by now, the server would send all of it.
        headers = {"Range": f"bytes={have}-", "If-Range": state["tag"]}
    elif have and size is not None:
        headers = {"Range": f"bytes={have}-"}  # the checksum or size tells in the end
    try:
        answer = _open(opener, url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if whole and int(whole[1]) == have:
            return True
        _empty(stream)
        return False
    with answer:
        place = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        length = answer.headers.get("Content-Length")
        if answer.status == 206 and place and int(place[1]) == have:
            total = None if place[2] == "*" else int(place[2])
        else:
            _empty(stream)
            have, total = 0, int(length) if length and length.isdecimal() else None
        tag = answer.headers.get("ETag") or ""
        tag = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        write_json(_state_file(part), {"url": url, "tag": tag})
        total = total if total is not None else size
        for data in _chunks(answer, have, total, progress, part.name.removesuffix(".part")):
            stream.write(data)
            if size is not None and stream.tell() > size:
                raise RunError(f"`{show(url)}` sends more than the {size:,} bytes that it should have")
        stream.flush()
    return total is None or stream.tell() >= total


def _empty(stream) -> None:
    stream.truncate(0)
    stream.seek(0)


def _chunks(answer, have: int, total: int | None, progress: bool, name: str) -> Iterator[bytes]:
    show_it = progress and sys.stderr.isatty()
    start = shown = time.monotonic()
    while data := answer.read(_CHUNK):
        have += len(data)
        yield data
        if show_it and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            share = f" of {total / 1e6:,.0f} MB ({100 * have / total:.0f} %)" if total else " MB"
            sys.stderr.write(f"\rdownloading {name}: {have / 1e6:,.0f}{share}  ")
            sys.stderr.flush()
    if show_it:
        sys.stderr.write("\n")
    if progress:
        log.info("downloaded %s: %s bytes in %.1f s", name, f"{have:,}", time.monotonic() - start)


def _state_file(part: pathlib.Path) -> pathlib.Path:
    return part.with_name(part.name + ".json")


def _read_state(part: pathlib.Path) -> dict[str, str]:
    try:
        state = json.loads(_state_file(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # none, or half a one: the download starts again
    return state if isinstance(state, dict) else {}


@contextlib.contextmanager
def _locked(stream, part: pathlib.Path) -> Iterator[None]:
    """Keep a second download of the same file away."""
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"`{part}` is being downloaded by another process; wait for it") from error
    yield


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    inner = getattr(error, "reason", None) or error
    return " ".join(str(inner).split()) or type(error).__name__
