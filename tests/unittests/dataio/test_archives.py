"""Archives: hostile, damaged, half unpacked, split."""

import io
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
from spatial_brain.dataio.archives import UnsafeArchiveError, unpack

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
