"""Whatever is given as a checkpoint, ``convert`` ends with one clear line."""

import io
import os
import pickle
import re
import resource
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.inference.convert.speechbrain_binaural import MODULES
from spatial_brain.models.binaural_tasnet import BinauralTasNet

NAME = "spat_encoder.a"


def saved(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def repacked(content, change, compression=zipfile.ZIP_STORED):
    """A file of torch.save with other entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(content))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, change(name, part))
    return stream.getvalue()


def number(value):
    value = pickle.encode_long(value)
    return b"\x8a" + bytes([len(value)]) + value


def claiming(offset=0, size=(3,), stride=(1,), count=10):
    """A file whose pickle claims a tensor of any place and size."""

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word

    def several(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    program = (
        b"\x80\x02}" + text(b"model") + b"}" + text(NAME.encode()) +
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage") +
        b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") +
        number(count) + b"tQ" + number(offset) + several(size) +
        several(stride) + b"\x89ccollections\nOrderedDict\n)Rt" + b"Rss."
    )  # fmt: skip
    content = {"model": {NAME: torch.arange(10.0)}}
    return repacked(
        content, lambda n, x: program if n.endswith("data.pkl") else x
    )


class Run:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def tar(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("model.pt")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def flipped(content, place):
    content = bytearray(content)
    content[place] ^= 16
    return bytes(content)


GOOD = {"model": {f"{NAME}{n}": torch.full((50,), 0.1) for n in range(5)}}
ZIP = saved(GOOD)
OLD = saved(GOOD, _use_new_zipfile_serialization=False)
NESTED = {"a": torch.ones(1)}
for _ in range(150):
    NESTED = {"model": NESTED}
EXEC = Run(exec, "open('trace', 'w').close()")
BYTEARRAY = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x02\x85R."
WRONG = "no network of SAR-SSL"
CODE = "could run code"
CONTENTS = {
    "nothing": (b"", "empty file"),
    "one byte": (b"\x80", "cannot be read"),
    "text": (b"hello\n", "no file of torch.save"),
    "json": (b'{"error": "not found"}', "no file of torch.save"),
    "web page": (b" <HTML><body>404</body>", "a web page"),
    "web page with a mark": (b"\xef\xbb\xbf<head>", "a web page"),
    "comment of a web page": (b"<!-- error --><html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error/>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1", "git lfs"),
    "zeros": (bytes(9000), "no file of torch.save"),
    "program": (b"\x7fELF" + bytes(400), "no file of torch.save"),
    "tar": (tar(ZIP), "no file of torch.save"),
    "random zip": (b"PK\x03\x04" + bytes(range(256)), "damaged or cut"),
    "random pickle": (b"\x80\x02" + bytes(range(90, 256)), ""),
    "compressed": (
        repacked(GOOD, lambda n, x: x, zipfile.ZIP_DEFLATED),
        "a compressed archive",
    ),
    "bomb": (
        repacked(
            {"model": {NAME: torch.zeros(10**6)}},
            lambda n, x: x,
            zipfile.ZIP_DEFLATED,
        ),
        "a compressed archive",
    ),
    "bytearray of 8 GB": (BYTEARRAY, "asks for a bytearray"),
    "bytearray in an archive": (
        repacked(GOOD, lambda n, x: BYTEARRAY if "data.pkl" in n else x),
        "asks for a bytearray",
    ),
    "text of 2 GB": (b"\x80\x02X\0\0\0\x80x.", "cannot be read"),
    "lists in lists": (b"\x80\x02" + b"]" * 10**5 + b"a" * 99_999 + b".", ""),
    "call": (pickle.dumps(EXEC, 2), CODE),
    "call of protocol 0": (pickle.dumps(EXEC, 0), "no file of torch.save"),
    "call of protocol 4": (pickle.dumps(EXEC, 4), CODE),
    "call for a tensor": (saved({"model": {NAME: EXEC}}), CODE),
    "call in an old file": (
        saved(EXEC, _use_new_zipfile_serialization=False),
        CODE,
    ),
    "module": (saved(torch.nn.Linear(1, 1)), CODE),
    "array": (saved({"model": {NAME: np.ones(3)}}), CODE),
    "list": (saved([torch.ones(1)]), "found list"),
    "tensor": (saved(torch.ones(1)), "found Tensor"),
    "none": (saved(None), "found NoneType"),
    "no entries": (saved({}), WRONG),
    "no tensors": (saved({"model": {}}), WRONG),
    "list of tensors": (saved({"model": [1]}), "dictionary with model"),
    "nested deeply": (saved(NESTED), "dictionary with model"),
    "numeric names": (saved({"model": {1: torch.ones(1)}}), "with 1"),
    "a number": (saved({"model": {"epoch": 3}}), "with epoch"),
    "commands for a terminal": (saved({"\x1b[31m\n": 1}), r"with \?\[31m\?"),
    "long name": (saved({"a" * 10**5: 1}), r"with a+\.\.\."),
    "offset beyond": (claiming(offset=10**9), "cannot be read"),
    "negative offset": (claiming(offset=-3), "cannot be read"),
    "negative stride": (claiming(stride=(-1,)), "cannot be read"),
    "negative size": (claiming(size=(-3,)), "cannot be read"),
    "size of terabytes": (claiming(size=(2**40,)), "cannot be read"),
    "repeated": (claiming(size=(2**40,), stride=(0,)), "more values than"),
    "huge stride": (claiming(size=(2,), stride=(2**40,)), "cannot be read"),
    "huge storage": (claiming(count=2**50), "cannot be read"),
    "negative storage": (claiming(count=-5), "cannot be read"),
    "overflow": (claiming(size=(2**62, 2**62), stride=(1, 1)), "cannot be"),
    "other dimensions": (claiming(size=(2, 3)), "cannot be read"),
    "flipped value": (flipped(ZIP, ZIP.find(b"\xcd\xcc\xcc=")), "checksum"),
    "flipped directory": (flipped(ZIP, len(ZIP) - 20), "damaged or cut"),
    **{
        f"cut at {part} %": (ZIP[: len(ZIP) * part // 100], "damaged or cut")
        for part in (2, 20, 50, 80, 99)
    },
    **{
        f"old file cut at {part} %": (OLD[: len(OLD) * part // 100], "")
        for part in (1, 5, 20, 50, 80, 99)
    },
}
PLACES = {
    "folder": os.mkdir,
    "pipe": os.mkfifo,
    "broken link": lambda path: os.symlink("nowhere", path),
    "link to itself": lambda path: os.symlink(path.name, path),
    "device": lambda path: os.symlink("/dev/zero", path),
}
TENSORS = {
    "nan": torch.full((2,), torch.nan),
    "inf": torch.full((2,), torch.inf),
    "int8": torch.ones(2, dtype=torch.int8),
    "complex": torch.ones(2, dtype=torch.complex64),
    "bool": torch.ones(2, dtype=torch.bool),
    "sparse": torch.ones(2, 2).to_sparse(),
    "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": torch.ones(2, device="meta"),
    "repeated": torch.zeros(1).expand(2**20, 2**20, 2**20),
    "empty": torch.zeros(0),
    "scalar": torch.zeros(()),
    "60 dimensions": torch.zeros([1] * 60),
    "8 bit": torch.ones(2).to(torch.float8_e4m3fn),
}
# What each format looks at first.
FORMATS = {
    "sar-ssl": lambda x: {"model": {"module.mlp_head.1.weight": x}},
    "pseldnets": lambda x: {"state_dict": {"net.tscam_conv.weight": x}},
    "pseldnets of a rate": lambda x: {
        "state_dict": {
            "net.tscam_conv.weight": torch.zeros(3, 1),
            "af_extractor.mel_scale.fb": x,
        }
    },
    "cnn14-audioset": lambda x: {"model": {"conv_block1.bn1.bias": x}},
}


@pytest.fixture
def refused(tmp_path, capfd, monkeypatch):
    """Convert; the one line with which that ends, nothing being written."""
    monkeypatch.chdir(tmp_path)

    def convert(format, checkpoint, output="out"):
        before = sorted(tmp_path.rglob("*"))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        arguments = ["convert", "--format", format.split()[0]]
        arguments += ["--checkpoint", str(checkpoint), "--output", output]
        assert main(arguments) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and len(error) < 500, error
        assert "\x1b" not in error
        assert sorted(tmp_path.rglob("*")) == before
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        # The largest network has 300 MB of weights.
        assert grown < 1_000_000  # kB
        return error

    return convert


@pytest.mark.parametrize("kind", CONTENTS)
def test_files(kind, refused, tmp_path):
    content, message = CONTENTS[kind]
    path = tmp_path / "TDOA.tar"
    path.write_bytes(content)
    assert re.search(rf"TDOA\.tar.*{message}", refused("sar-ssl", path))


@pytest.mark.parametrize("kind", PLACES)
def test_places(kind, refused, tmp_path):
    PLACES[kind](tmp_path / "TDOA.tar")
    assert "TDOA.tar" in refused("sar-ssl", tmp_path / "TDOA.tar")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(kind, format, refused, tmp_path):
    path = tmp_path / "mACCDOA-TDOA.ckpt"
    torch.save(FORMATS[format](TENSORS[kind]), path)
    assert "mACCDOA-TDOA.ckpt" in refused(format, path)


def save_binaural(folder, **changes):
    """A checkpoint folder, some tensors changed: module -> function."""
    torch.manual_seed(0)
    network = BinauralTasNet(
        "independent",
        num_filters=6,
        kernel_size=8,
        stride=4,
        bottleneck=4,
        hidden=5,
        num_blocks=3,
        num_repeats=2,
    )
    folder.mkdir()
    for module in MODULES:
        state = getattr(network, module).state_dict()
        state = changes.get(module, dict)(state)
        torch.save(state, folder / f"{module}.ckpt")
    return folder


BLOCK = "temporal_conv_net.temporalblock_"
MASKS = {
    "block of letters": lambda x: {**x, f"{BLOCK}a_b.x": torch.ones(1)},
    "half a block": lambda x: {**x, f"{BLOCK}9.x": torch.ones(1)},
    "block beyond": lambda x: {**x, f"{BLOCK}99999999_9.x": torch.ones(1)},
    "block below": lambda x: {**x, f"{BLOCK}-1_-1.x": torch.ones(1)},
    "no tensors": lambda x: {},
    "flat": lambda x: {k: v.flatten() for k, v in x.items()},
    "nothing in them": lambda x: {k: v[:0] for k, v in x.items() if v.ndim},
    "NaN": lambda x: {k: v * torch.nan for k, v in x.items()},
}


@pytest.mark.parametrize("kind", MASKS)
def test_folders_of_binaural_networks(kind, refused, tmp_path):
    folder = save_binaural(tmp_path / "run", masknetL=MASKS[kind])
    assert "run" in refused("speechbrain-binaural", folder)


@pytest.mark.parametrize("rate", ["abc", "-8000", "0", "nan", "9" * 5000])
def test_sampling_rates_of_binaural_networks(rate, refused, tmp_path):
    folder = save_binaural(tmp_path / "run")
    (folder / "hyperparams.yaml").write_text(f"sample_rate: {rate}\n")
    error = refused("speechbrain-binaural", folder)
    assert "run: a sampling rate of" in error and "--sample-rate" in error


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("mine.txt", "mine.txt: File exists"),
        ("mine.txt/out", "mine.txt"),
        ("a" * 300, "File name too long"),
        ("dangling", "dangling: File exists"),
        ("", "output: an empty text"),
        ("results", "something else than a pretrained model"),
    ],
)
def test_outputs(output, message, refused, tmp_path):
    folder = save_binaural(tmp_path / "run")
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere/x")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "hyperparams.yaml").write_text("seed: 1\n")
    assert message in refused("speechbrain-binaural", folder, output)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_assumption_is_one_line_and_the_rest_is_kept(tmp_path, capfd):
    folder = save_binaural(tmp_path / "run")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    arguments = ["convert", "--format", "speechbrain-binaural"]
    arguments += ["--checkpoint", str(folder), "--output"]
    for _ in range(2):
        assert main([*arguments, str(tmp_path / "out")]) == 0
        error = capfd.readouterr().err
        assert error.startswith("spatial-brain convert: warning: ")
        assert "8000 Hz" in error and error.count("\n") == 1
    assert (tmp_path / "out" / "diary.txt").read_text() == "mine"
