"""Archives: hostile, damaged, half unpacked, split."""

import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest

from spatial_brain.dataio import archives, split_zip
from spatial_brain.dataio.archives import (
    ArchiveError,
    UnsafeArchiveError,
    unpack,
)

BODY = np.random.default_rng(0).bytes(1_500_000)


def make_tar(path, members):
    """Write a tar of (TarInfo or name, bytes)."""
    with tarfile.open(path, "w:gz") as file:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("name", ["../out.txt", "/abs.txt", "a/../../out.txt"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_leave_the_folder(tmp_path, kind, name):
    folder = tmp_path / "in" / "folder"
    if kind == "tar":
        archive = make_tar(tmp_path / "a.tar.gz", [("ok", b"1"), (name, b"2")])
    else:
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("ok", b"1")
            file.writestr(name, b"2")
    with pytest.raises(UnsafeArchiveError, match=re.escape(name)):
        unpack(archive, folder)
    assert not list(tmp_path.rglob("out.txt")) + list(tmp_path.rglob("abs.txt"))


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "../outside"),
        special("a/link", tarfile.SYMTYPE, "../../outside"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special("link", tarfile.SYMTYPE, "nowhere"),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}-{info.linkname}",
)
def test_links_outside_and_devices(tmp_path, member):
    (tmp_path / "outside").write_text("secret")
    archive = make_tar(tmp_path / "a.tar.gz", [(member, b"")])
    with pytest.raises(UnsafeArchiveError, match=member.name):
        unpack(archive, tmp_path / "folder")
    assert not (tmp_path / "folder" / member.name).exists()


def test_links_inside_become_copies(tmp_path):
    archive = make_tar(
        tmp_path / "a.tar.gz",
        [
            (special("sub/second", tarfile.SYMTYPE, "first"), b""),
            (special("sub/first", tarfile.SYMTYPE, "../data"), b""),
            ("data", b"content"),
            (special("hard", tarfile.LNKTYPE, "data"), b""),
        ],
    )
    folder = unpack(archive, tmp_path / "folder")
    for name in ("sub/second", "sub/first", "hard"):
        assert (folder / name).read_bytes() == b"content"
        assert not (folder / name).is_symlink()


def test_link_lying_in_the_folder_before(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "sub").symlink_to(outside)
    archive = make_tar(tmp_path / "a.tar.gz", [("sub/evil", b"1")])
    with pytest.raises(UnsafeArchiveError, match="leads outside"):
        unpack(archive, folder)
    assert not list(outside.iterdir())


def test_zip_link_outside(tmp_path):
    archive = tmp_path / "a.zip"
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeArchiveError, match="link"):
        unpack(archive, tmp_path / "folder")


def test_damaged_archives(tmp_path):
    good = make_tar(tmp_path / "a.tar.gz", [("data", BODY)])
    good.write_bytes(good.read_bytes()[:500_000])
    with pytest.raises(ValueError, match="a.tar.gz.*download it again"):
        unpack(good, tmp_path / "folder")
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data", BODY)
    content = bytearray(archive.read_bytes())
    content[1000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="b.zip.*download it again"):
        unpack(archive, tmp_path / "folder")
    assert not (tmp_path / "folder" / "data").exists()
    archive.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="truncated"):
        unpack(archive, tmp_path / "folder")
    with pytest.raises(ValueError, match="rar"):
        (tmp_path / "c.rar").write_bytes(b"Rar!")
        unpack(tmp_path / "c.rar", tmp_path / "folder")


def test_half_unpacked_folder_is_finished(tmp_path, monkeypatch):
    archive = make_tar(
        tmp_path / "a.tar.gz", [(f"file{i}", bytes([i]) * 10) for i in range(4)]
    )
    folder = tmp_path / "folder"
    real, written = archives._write_member, []

    def killed(archive, member, path):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(member.name)
        real(archive, member, path)

    monkeypatch.setattr(archives, "_write_member", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder)
    assert not archives.is_unpacked("a.tar.gz", folder)
    monkeypatch.setattr(
        archives,
        "_write_member",
        lambda a, m, p: (written.append(m.name), real(a, m, p)),
    )
    unpack(archive, folder)
    # Members of the first run are kept, the rest is written once.
    assert written == ["file0", "file1", "file2", "file3"]
    assert archives.is_unpacked("a.tar.gz", folder)
    unpack(archive, folder)
    assert len(written) == 4
    assert not list(folder.glob("*.tmp"))


def test_stale_files_are_replaced(tmp_path):
    archive = make_tar(tmp_path / "a.tar.gz", [("data", b"new")])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data").write_bytes(b"old")
    assert (unpack(archive, folder) / "data").read_bytes() == b"new"


@pytest.fixture
def content():
    generator = np.random.default_rng(1)
    return {
        f"mic_dev/mix{i:03d}.wav": generator.bytes(90_000) for i in range(5)
    }


def check_content(folder, content):
    found = {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }
    assert found == content


@pytest.mark.skipif(shutil.which("zip") is None, reason="no zip program")
def test_split_zip_of_info_zip(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    subprocess.run(
        ["zip", "-q", "-r", "-s", "64k", "mic_dev.zip", "mic_dev"],
        cwd=tmp_path,
        check=True,
    )
    parts = split_zip.split_zip_parts(tmp_path / "mic_dev.zip")
    assert len(parts) == 7
    check_content(unpack(tmp_path / "mic_dev.zip", tmp_path / "out"), content)
    parts[3].unlink()
    with pytest.raises(FileNotFoundError, match="mic_dev.z04 is missing"):
        unpack(tmp_path / "mic_dev.zip", tmp_path / "again")


def cut_zip(path, content, part_size, zip64):
    """Cut a zip into parts whose directory counts positions by part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
        infos = file.infolist()
    whole = buffer.getvalue()
    directory_at = struct.unpack_from("<L", whole, len(whole) - 6)[0]
    data = b"PK\x07\x08" + whole[:directory_at]
    parts = [data[i : i + part_size] for i in range(0, len(data), part_size)]
    directory, at = b"", directory_at
    for info in infos:
        fields = list(split_zip._ENTRY.unpack_from(whole, at))
        name = info.filename.encode()
        at += split_zip._ENTRY.size + len(name)
        disk, offset = divmod(info.header_offset + 4, part_size)
        extra = b""
        if zip64:
            numbers = (fields[9], fields[8], offset, disk)
            extra = struct.pack("<2H3QL", 1, 28, *numbers)
            fields[8] = fields[9] = fields[16] = 0xFFFFFFFF
            disk = 0xFFFF
            offset = 0xFFFFFFFF
        fields[11], fields[13], fields[16] = len(extra), disk, offset
        directory += split_zip._ENTRY.pack(*fields) + name + extra
    disk, offset, count = len(parts) - 1, len(parts[-1]), len(infos)
    end_at = offset + len(directory)
    tail = directory
    if zip64:
        tail += split_zip._END64.pack(
            b"PK\x06\x06",
            44,
            45,
            45,
            disk,
            disk,
            count,
            count,
            len(directory),
            offset,
        )
        tail += split_zip._LOCATOR.pack(b"PK\x06\x07", disk, end_at, disk + 1)
        numbers = (0xFFFF,) * 4 + (0xFFFFFFFF,) * 2
    else:
        numbers = (disk, disk, count, count, len(directory), offset)
    tail += split_zip._END.pack(b"PK\x05\x06", *numbers, 0)
    for number, part in enumerate(parts[:-1], 1):
        path.with_suffix(f".z{number:02d}").write_bytes(part)
    path.write_bytes(parts[-1] + tail)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("part_size", [50_000, 100_000, 300_000])
def test_split_zip_of_any_writer(tmp_path, content, part_size, zip64):
    cut_zip(tmp_path / "foa.zip", content, part_size, zip64)
    check_content(unpack(tmp_path / "foa.zip", tmp_path / "out"), content)


def test_zip_cut_by_bytes(tmp_path, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    whole = buffer.getvalue()
    cuts = [0, 200_000, 400_000, len(whole) - 7, len(whole)]
    for number in range(1, 5):
        part = whole[cuts[number - 1] : cuts[number]]
        (tmp_path / f"foa.zip.{number:03d}").write_bytes(part)
    check_content(unpack(tmp_path / "foa.zip.001", tmp_path / "out"), content)
    (tmp_path / "foa.zip.002").unlink()
    with pytest.raises((FileNotFoundError, ValueError), match="missing"):
        unpack(tmp_path / "foa.zip.001", tmp_path / "again")


CONTENT = {
    f"dev/sub{i % 2}/mix{i:02d}.txt": np.random.default_rng(i)
    .integers(48, 58, 400 * i)
    .astype(np.uint8)
    .tobytes()
    for i in range(6)
}


def make_archive(folder, kind):
    """Write an archive of ``CONTENT``; its checksum where nothing else is."""
    folder.mkdir()
    path = folder / f"data.{kind.split('-')[0]}"
    if kind == "zip-split":
        cut_zip(path, CONTENT, 1500, zip64=True)
    elif kind.startswith("zip"):
        method = (
            zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED
        )
        with zipfile.ZipFile(path, "w", method) as file:
            for name, data in CONTENT.items():
                with file.open(name, "w", force_zip64="64" in kind) as member:
                    member.write(data)
    else:
        mode = kind.removeprefix("tar").strip(".") or ""
        form = tarfile.PAX_FORMAT
        with tarfile.open(path, f"w:{mode}", format=form) as file:
            for name, data in CONTENT.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), 0.5
                file.addfile(info, io.BytesIO(data))
    checksum = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    return path, checksum if kind == "tar" else None


def damage(content, generator):
    """One flipped bit, or a cut."""
    damaged = bytearray(content)
    at = int(generator.integers(len(content)))
    if generator.random() < 0.2:
        return damaged[:at]
    damaged[at] ^= 1 << int(generator.integers(8))
    return damaged


@pytest.mark.parametrize(
    "kind",
    [
        "zip",
        "zip-stored",
        "zip-64",
        "zip-split",
        "tar",
        "tar.gz",
        "tar.bz2",
        "tar.xz",
    ],
)
def test_damage_never_passes_for_data(tmp_path, kind, monkeypatch):
    # The disk is not what is tested.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    path, checksum = make_archive(tmp_path / "archives", kind)
    check_content(unpack(path, tmp_path / "whole", checksum), CONTENT)
    parts = split_zip.split_zip_parts(path)
    originals = [part.read_bytes() for part in parts]
    generator = np.random.default_rng(7)
    harmless = 0
    for number in range(300):
        which = int(generator.integers(len(parts)))
        parts[which].write_bytes(damage(originals[which], generator))
        folder = tmp_path / f"out{number}"
        try:
            check_content(unpack(path, folder, checksum), CONTENT)
            harmless += 1
        except ArchiveError as error:
            assert str(path) in str(error)
            left = [name.name for name in folder.iterdir()]
            assert all(name.endswith(".unpacked.json") for name in left)
        parts[which].write_bytes(originals[which])
    # Times, comments and the like.
    assert harmless < 120


def test_headers_of_a_plain_tar_are_checked(tmp_path, caplog):
    path, _ = make_archive(tmp_path / "archives", "tar")
    original = path.read_bytes()
    check_content(unpack(path, tmp_path / "whole"), CONTENT)
    assert "no checksum of its contents" in caplog.text
    with tarfile.open(path) as file:
        headers = [info.offset_data - 512 for info in file]
        end = file.offset
    for number, at in enumerate([*headers, end + 5, len(original) - 1]):
        damaged = bytearray(original)
        damaged[at + 150 * (at in headers)] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match="data.tar: damaged"):
            unpack(path, tmp_path / f"out{number}")
    # Cut between two members, without the end.
    path.write_bytes(original[: headers[3]])
    with pytest.raises(ArchiveError, match="data.tar: damaged"):
        unpack(path, tmp_path / "cut")


def test_zip_that_claims_billions_of_parts(tmp_path):
    path, _ = make_archive(tmp_path / "archives", "zip-split")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x06\x07") + 16
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="4294967295 parts.*, \\.\\.\\. is"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_bombs(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_SMALL", 1 << 20)
    path = tmp_path / f"bomb.{kind}"
    zeros = bytes(4 << 20)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
            file.writestr("zeros", zeros)
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as file:
            info = tarfile.TarInfo("zeros")
            info.size = len(zeros)
            file.addfile(info, io.BytesIO(zeros))
    monkeypatch.setattr(archives, "_MAX_RATIO", 100)
    with pytest.raises(ArchiveError, match="bomb.*unpacks to more than"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "zeros").exists()


def test_endless_zeros_behind_a_tar(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_SMALL", 1 << 20)
    path = make_tar(tmp_path / "a.tar.gz", [("data", b"1")])
    with gzip.open(path, "ab") as file:
        file.write(bytes(4 << 20))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a/b"],
        ["a/b", "a"],
        ["x" * 300],
        ["."],
        ["d/" + "y" * 5000],
        [".other.zip.unpacked.json"],
        ["C:/a"],
        ["a\\..\\..\\b"],
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_names_that_cannot_be_written(tmp_path, kind, names):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"1")
    else:
        make_tar(path, [(name, b"1") for name in names])
    with pytest.raises(ArchiveError, match=re.escape(str(path))):
        unpack(path, tmp_path / "out")
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".tmp"]
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "out"}


def test_an_archive_copied_again_is_unpacked_anew(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "a.tar.gz", [("x", b"old"), ("y", b"1")])
    folder = tmp_path / "out"
    real = archives._write_member

    def killed(archive, member, place):
        if member.name == "y":
            raise KeyboardInterrupt
        real(archive, member, place)

    monkeypatch.setattr(archives, "_write_member", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(path, folder)
    monkeypatch.undo()
    size = path.stat().st_size
    make_tar(path, [("x", b"new"), ("y", b"1")])
    with open(path, "ab") as file:
        file.write(bytes(size - path.stat().st_size))
    os.utime(path, (1, 1))
    assert (unpack(path, folder) / "x").read_bytes() == b"new"


def test_killed_while_moving(tmp_path, monkeypatch):
    path, _ = make_archive(tmp_path / "archives", "zip")
    real, moved = os.replace, []

    def killed(source, target):
        if "mix" in str(source) and ".unpacking" in str(source):
            if ".tmp" not in str(source):
                moved.append(source)
            if len(moved) == 3:
                raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(path, tmp_path / "out")
    monkeypatch.undo()
    assert not archives.is_unpacked(path.name, tmp_path / "out")
    check_content(unpack(path, tmp_path / "out"), CONTENT)
    assert archives.is_unpacked(path.name, tmp_path / "out")
