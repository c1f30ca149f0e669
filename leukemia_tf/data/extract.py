"""Unpacking archives from elsewhere: nothing is written before every member has been looked at."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import pathlib
import posixpath
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from typing import BinaryIO, Iterator

from leukemia_tf.data.names import name_problem, show
from leukemia_tf.data.progress import track
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import explain_write_errors

log = logging.getLogger(__name__)

# C-NMC 2019 unpacks to 10 GB in 15,115 files, the largest known set (46 GB of BMP in a ZIP) to less than 100 GB.
MAX_BYTES = 500 * 10**9
MAX_FILES = 1_000_000
# A BMP of a cell on black shrinks by 20; a bomb by 1,000 and more. Small archives may do what they like.
MAX_RATIO = 200
_SMALL = 100 * 10**6
_NAMED = 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile)
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def extract_archive(
    archive: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    max_ratio: float = MAX_RATIO,
    progress: bool = True,
) -> int:
    """Unpack a ZIP or TAR archive (plain, gzip, bzip2 or xz) into a folder.

    It is unpacked beside the folder and moved in when it is complete, so that a killed run leaves nothing that looks
    finished.

    Args:
        archive: the file.
        folder: where to; made if needed. Nothing in it is overwritten.
        max_bytes: refuse an archive that unpacks to more.
        max_files: refuse an archive of more members.
        max_ratio: refuse an archive that unpacks to more than this many times its size (above 100 MB).
        progress: show progress.

    Returns:
        The number of files.

    Raises:
        InputError: if it is damaged or no archive, or holds a member that may not be unpacked: a path out of the
            folder, a link out of it, a device, a name that is too long or not UTF-8 or has a line break, one name
            twice, or a bomb. One line for each, the first 20.
        RunError: if the disk lacks the room, or Python is older than 3.11.4.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    if not hasattr(tarfile, "data_filter"):
        raise RunError("unpacking needs the safe filter of tarfile: install Python 3.11.4 or newer")
    try:
        size = archive.stat().st_size
        # The compressed stream is bounded too: a header of a TAR file can itself be a bomb.
        allowed = min(max_bytes, max(max_ratio * size, _SMALL))
        with _opened(archive, allowed) as opened:
            members = _check_members(archive, opened, allowed, max_files, f"{allowed:,} bytes")
            _check_target(archive, folder, members)
            return _unpack(archive, opened, members, folder, progress)
    except _DAMAGE as error:
        raise InputError(f"`{archive}` is damaged, or an archive that cannot be read; received: {error}") from error
    except NotImplementedError as error:
        raise InputError(f"`{archive}` is packed in a way that cannot be read; received: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"`{archive}` does not exist; received {str(archive)!r}") from error


def is_archive(file: str | os.PathLike) -> bool:
    """Tell whether a file's name says that it is an archive that `extract_archive` reads."""
    name = os.fspath(file).lower()
    return name.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


class _Member:
    """What the checks need to know about a member of either kind of archive."""

    def __init__(self, info: zipfile.ZipInfo | tarfile.TarInfo):
        self.info = info
        if isinstance(info, zipfile.ZipInfo):
            mode = info.external_attr >> 16
            self.name, self.size = info.orig_filename, info.file_size
            self.folder = info.is_dir()
            kind = stat.S_IFMT(mode)
            self.special = "a link" if stat.S_ISLNK(mode) else ""
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                self.special = "a device or pipe"
            elif info.flag_bits & 1:
                self.special = "an encrypted member"
        else:
            self.name, self.size, self.folder = info.name, max(info.size, 0), info.isdir()
            self.special = ""
            if info.issym() or info.islnk():
                base = posixpath.dirname(info.name) if info.issym() else ""
                target = posixpath.normpath(posixpath.join(base, info.linkname))
                if target.startswith(("/", "../")) or target == "..":
                    self.special = "a link out of the folder"
            elif not (info.isfile() or info.isdir()):
                self.special = "a device or pipe"
        self.path = posixpath.normpath(self.name) if self.name else ""

    def problem(self) -> str:
        """Say what is wrong with this member, or return ""."""
        name = self.name.rstrip("/")
        if name_problem(name):
            return name_problem(name)
        if name.startswith("/") or "\\" in name or name[1:2] == ":":
            return "a path from the root, or one of another system"
        if ".." in name.split("/"):
            return "a path out of the folder"
        return self.special


def _opened(archive: pathlib.Path, allowed: int) -> zipfile.ZipFile | tarfile.TarFile:
    with open(archive, "rb") as file:
        start = file.read(6)
    for magic, opener in _COMPRESSED.items():
        if start.startswith(magic):
            return tarfile.open(fileobj=_Bounded(opener(archive, "rb"), archive, allowed), mode="r:")
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    return tarfile.open(archive, mode="r:")


class _Bounded:
    """A decompressed stream that ends with an error where it grows beyond what is allowed."""

    def __init__(self, stream: BinaryIO, archive: pathlib.Path, allowed: int):
        # 5 % and 10 MB for headers and padding.
        self._stream, self._archive, self._allowed = stream, archive, int(1.05 * allowed) + 10**7

    def read(self, size: int = -1) -> bytes:
        room = self._allowed + 1 - self._stream.tell()
        data = self._stream.read(room if size is None or size < 0 else min(size, room))
        if self._stream.tell() > self._allowed:
            raise _bomb(self._archive, f"{self._allowed:,} bytes")
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0 and place > self._allowed:
            raise _bomb(self._archive, f"{self._allowed:,} bytes")
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()


def _bomb(archive: pathlib.Path, allowed: str) -> InputError:
    return InputError(
        f"`{archive}` unpacks to more than {allowed}, which looks like a bomb; "
        f"received {archive.stat().st_size:,} bytes"
    )


def _check_members(
    archive: pathlib.Path,
    opened: zipfile.ZipFile | tarfile.TarFile,
    allowed: int,
    max_files: int,
    limit: str,
) -> list[_Member]:
    members, problems, total, files, count = [], [], 0, {}, 0
    for member in map(_Member, opened.infolist() if isinstance(opened, zipfile.ZipFile) else opened):
        total += member.size
        if total > allowed:
            raise _bomb(archive, limit)
        if len(members) >= max_files:
            raise InputError(f"`{archive}` must have at most {max_files:,} members; received more")
        problem = member.problem()
        if not problem and not member.folder:
            problem = "the same name twice" if member.path in files else ""
            files[member.path] = True
        if problem:
            count += 1
            problems += [f"`{archive}`: `{show(member.name)}`: received {problem}"] * (len(problems) < _NAMED)
        members.append(member)
    for path in list(files):
        while not problems and (path := posixpath.dirname(path)):
            if path in files:
                count += 1
                problems.append(f"`{archive}`: `{show(path)}`: received a file that is a folder elsewhere")
    if count > len(problems):
        problems.append(f"`{archive}`: ... and {count - len(problems):,} more")
    if not files and not problems:
        problems.append(f"`{archive}` must hold files; received none")
    if problems:
        raise InputError("\n".join(problems))
    return members


def _check_target(archive: pathlib.Path, folder: pathlib.Path, members: list[_Member]) -> None:
    tops = sorted({member.path.split("/")[0] for member in members} - {"."})
    there = [name for name in tops if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        raise InputError(
            f"`{folder}` must not hold what `{archive.name}` unpacks to: move it away; "
            f"received {', '.join(f'`{name}`' for name in there[:_NAMED])}"
        )
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    total = sum(member.size for member in members)
    if total > free:
        raise RunError(f"cannot unpack `{archive}`: it needs {total:,} bytes, `{folder}` has {free:,} free")


def _unpack(
    archive: pathlib.Path,
    opened: zipfile.ZipFile | tarfile.TarFile,
    members: list[_Member],
    folder: pathlib.Path,
    progress: bool,
) -> int:
    with explain_write_errors(folder):
        # In the folder itself, which is on the right disk; hidden, so that a listing does not see it.
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=".tmp-unpack-", dir=folder))
        try:
            for member in _each(members, archive, progress):
                if isinstance(opened, zipfile.ZipFile):
                    opened.extract(member.info, temporary)
                else:
                    opened.extract(member.info, temporary, filter="data")
            for path in sorted(temporary.iterdir()):
                os.rename(path, folder / path.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return sum(not member.folder for member in members)


def _each(members: list[_Member], archive: pathlib.Path, progress: bool) -> Iterator[_Member]:
    return track(members, len(members), f"unpacking {show(archive.name)}", progress)
