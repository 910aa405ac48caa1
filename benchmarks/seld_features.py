"""SELD features: ours and others, seconds a minute of audio.

    python benchmarks/seld_features.py [--threads 1] [--pseldnets CLONE]

One run measures all on the same machine, on a minute of four-channel noise.
Times are medians of interleaved repeats; "ratio" is the time of the peer over
ours, "difference" the largest one between the two outputs. Peers: the way of
the DCASE baselines (librosa, one channel after the other), if librosa is
installed; and the extractor of PSELDNets, taken from a clone of its repository
(https://github.com/Jinbo-Hu/PSELDNets), if its path is given.
"""

import argparse
import importlib.util
import platform
import statistics
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from spatial_brain.processing.seld_features import (
    BaselineFeatures,
    LogMelGCC,
    LogMelIntensity,
    Salsa,
    SalsaLite,
)

MINUTE = 60
CHUNK = 10
RATE = 24000
N_FFT, HOP, WINDOW = 1024, 480, 960


class LibrosaPath:
    """Features as the DCASE baselines compute them, in float64.

    Arguments
    ---------
    kind : str
        ``"foa"``, ``"mic"`` or ``"salsa_lite"``.
    """

    def __init__(self, kind):
        import librosa

        self.librosa = librosa
        self.kind = kind
        self.bank = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=64).T

    def __call__(self, audio):
        """[time, 4] float64 -> [channel, frame, bin]."""
        frames = len(audio) // HOP
        spectra = [
            self.librosa.stft(
                np.ascontiguousarray(channel),
                n_fft=N_FFT,
                hop_length=HOP,
                win_length=WINDOW,
            ).T[:frames]
            for channel in (audio + 1e-8).T
        ]
        if self.kind == "salsa_lite":
            return self.salsa_lite(np.array(spectra))
        level = [
            self.librosa.power_to_db(np.abs(s) ** 2 @ self.bank)
            for s in spectra
        ]
        space = self.gcc if self.kind == "mic" else self.intensity
        return np.concatenate((level, space(np.array(spectra))))

    def intensity(self, spectra):
        """Normalised intensity vector through the mel filters."""
        omni, rest = spectra[:1], spectra[1:]
        energy = np.abs(omni) ** 2 + (np.abs(rest) ** 2).sum(0) / 3 + 1e-8
        return (np.real(np.conj(omni) * rest) / energy) @ self.bank

    def gcc(self, spectra):
        """GCC-PHAT of all pairs at 64 lags."""
        pairs = []
        for first, second in combinations(spectra, 2):
            phase = np.angle(np.conj(first) * second)
            lags = np.fft.irfft(np.exp(1j * phase))
            pairs.append(np.roll(lags, 32, axis=-1)[:, :64])
        return np.array(pairs)

    def salsa_lite(self, spectra):
        """Log power and path differences, bins 2 to 383."""
        level = [
            self.librosa.power_to_db(np.abs(s) ** 2, top_db=None)
            for s in spectra
        ]
        path = np.angle(spectra[1:] * np.conj(spectra[:1]))
        path /= 2 * np.pi * RATE / (N_FFT * 343)
        path /= np.maximum(np.arange(N_FFT // 2 + 1), 1)
        path[..., 87:] = 0
        return np.concatenate((level, path))[..., 2:384]


def pseldnets(clone, rate):
    """Extractor of PSELDNets: [batch, 4, time] -> [batch, 7, frame, 64]."""
    path = Path(clone) / "src" / "utils" / "feature.py"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; --pseldnets names a clone")
    spec = importlib.util.spec_from_file_location("pseldnets_feature", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = {
        "window": "hann",
        "nfft": N_FFT,
        "hoplen": rate // 100,
        "n_mels": 64,
        "sample_rate": rate,
    }
    return module.LogmelIV_Extractor({"data": data})


def comparisons(arguments, device):
    """Name, our function, the peer's or None, each without arguments."""
    generator = np.random.default_rng(0)
    has_librosa = importlib.util.find_spec("librosa") is not None
    rows = []
    for rate in (24000, 32000):
        audio = generator.standard_normal((MINUTE * rate, 4)) * 0.1
        chunks = torch.from_numpy(audio).float().to(device)
        chunks = chunks.reshape(-1, CHUNK * rate, 4)
        name = f"LogMelIntensity, {rate // 1000} kHz"
        peer = None
        if arguments.pseldnets:
            theirs = pseldnets(arguments.pseldnets, rate).to(device)
            peer = call(theirs, chunks.transpose(1, 2).contiguous())
        ours = LogMelIntensity(rate).to(device)
        rows.append((name, call(ours, chunks), "PSELDNets", peer))
    audio = generator.standard_normal((MINUTE * RATE, 4)) * 0.1
    whole = torch.from_numpy(audio).float()[None].to(device)
    for kind, module in (
        ("foa", BaselineFeatures("foa")),
        ("mic", BaselineFeatures("mic")),
        ("salsa_lite", SalsaLite(baseline=True, compat=True)),
    ):
        name = f"{type(module).__name__}, {kind}"
        peer = call(LibrosaPath(kind), audio) if has_librosa else None
        rows.append((name, call(module.to(device), whole), "librosa", peer))
    for name, module in (
        ("LogMelGCC", LogMelGCC()),
        ("SalsaLite, 10 ms", SalsaLite()),
        ("Salsa, foa", Salsa("foa")),
        ("Salsa, mic", Salsa("mic")),
    ):
        rows.append((name, call(module.to(device), whole), "", None))
    return rows


def call(function, *inputs):
    """Bind the input, wait for the device."""

    @torch.no_grad()
    def run():
        result = function(*inputs)
        if torch.is_tensor(result) and result.is_cuda:
            torch.cuda.synchronize()
        return result

    return run


def seconds(functions, repeats):
    """Median seconds of each function, called in turn."""
    times = [[] for _ in functions]
    for _ in range(repeats):
        for function, spent in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
    return [statistics.median(spent) for spent in times]


def difference(ours, theirs):
    """Largest difference of two results of one shape."""
    ours = ours.double().cpu().numpy()
    return np.abs(ours - np.asarray(torch.as_tensor(theirs).cpu())).max()


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pseldnets", help="path of a clone of PSELDNets")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{platform.processor() or platform.machine()}, {arguments.threads} "
        f"thread(s), torch {torch.__version__}"
    )
    if importlib.util.find_spec("librosa"):
        # Comes with librosa; holds NumPy to the same number of threads.
        from threadpoolctl import threadpool_limits

        threadpool_limits(arguments.threads)
    else:
        print("librosa is not installed (pip install librosa): skipped")
    if not arguments.pseldnets:
        print("PSELDNets: skipped, no clone named with --pseldnets")
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        print(f"\n{device}, seconds a minute of 4-channel audio")
        print(
            f"{'feature':26}{'ours':>9}{'peer':>9}{'ratio':>8}"
            f"{'difference':>12}"
        )
        for name, ours, title, theirs in comparisons(arguments, device):
            first = ours()  # fills caches
            line = f"{name:26}"
            if theirs is None:
                (spent,) = seconds([ours], arguments.repeats)
                print(f"{line}{spent:9.3f}")
                continue
            worst = difference(first, theirs())
            spent, peer = seconds([ours, theirs], arguments.repeats)
            print(
                f"{line}{spent:9.3f}{peer:9.3f}{peer / spent:8.1f}"
                f"{worst:12.1e}  {title}"
            )


if __name__ == "__main__":
    main()
