"""Readers of heads: CIPIC in its forms, folders, measured sets."""

import numpy as np
import pytest
import scipy.io
import scipy.signal
import soundfile
import torch

from spatial_brain.simulation.hrtf import load_hrtfs
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import ild, itd
from spatial_brain.simulation.hrtf.readers import find_heads, read_head
from spatial_brain.simulation.hrtf.sphere import spherical_head_responses

CIPIC_GRID = interaural_to_unit(
    torch.tensor(CIPIC_LATERALS)[:, None], torch.tensor(CIPIC_POLARS)
)


def head_of_cipic():
    """Whole numbers in the range of 16 bits, [25, 50, 200] an ear."""
    responses = spherical_head_responses(CIPIC_GRID, 44100)
    values = (responses[..., :200] * 9000).round().short().numpy()
    return values[:, :, 0], values[:, :, 1]


def write_wavs(folder, left, right):
    folder.mkdir(parents=True)
    for index, lateral in enumerate(CIPIC_LATERALS):
        name = f"neg{-lateral}" if lateral < 0 else str(lateral)
        for side, ear in (("left", left), ("right", right)):
            # 50 frames (elevations) of 200 channels (taps).
            soundfile.write(
                folder / f"{name}az{side}.wav", ear[index], 44100, "PCM_16"
            )
    # The published folder of subject 3 has this one as well.
    soundfile.write(folder / "neg80az.wav", left[0], 44100, "PCM_16")


@pytest.fixture(scope="module")
def cipic(tmp_path_factory):
    """The same head in all forms of CIPIC."""
    root = tmp_path_factory.mktemp("cipic")
    left, right = head_of_cipic()
    write_wavs(root / "wav" / "wav_database" / "subject03", left, right)
    arrays = {"hrir_l": left / 32768.0, "hrir_r": right / 32768.0}
    folder = root / "mat" / "standard_hrir_database" / "subject_003"
    folder.mkdir(parents=True)
    scipy.io.savemat(folder / "hrir_final.mat", {**arrays, "name": "3"})
    np.savez(
        root / "cipic_subject_003.npz",
        azimuth_deg=np.array(CIPIC_LATERALS),
        elevation_deg=np.round(CIPIC_POLARS),
        sample_rate=44100,
        **arrays,
    )
    return root


def test_wav_version_row_is_elevation_and_column_is_tap(cipic):
    left, right = head_of_cipic()
    heads = load_hrtfs(cipic / "wav", 8000, compat=True, dtype=torch.float64)
    assert heads.subjects == ["subject03"]
    assert heads.responses.shape == (1, 25, 50, 2, 37)
    for index, ear in ((0, left), (1, right)):
        # As the original: whole numbers resampled along the taps.
        expected = scipy.signal.resample_poly(ear, 80, 441, axis=-1)
        found = heads.responses[0, :, :, index].numpy() * 32768
        np.testing.assert_array_equal(found, expected)
    assert (
        load_hrtfs(cipic / "wav", 16000, compat=True).responses.shape[-1] == 73
    )


def test_all_forms_of_cipic_are_the_same_head(cipic):
    wav = load_hrtfs(cipic / "wav", 44100)
    for other in (
        cipic / "mat",
        cipic / "mat/standard_hrir_database/subject_003/hrir_final.mat",
        cipic / "cipic_subject_003.npz",
    ):
        heads = load_hrtfs(other, 44100)
        assert heads.subjects == ["subject03"]
        torch.testing.assert_close(heads.responses, wav.responses)
    cue = itd(wav.responses[0, [0, -1], 8], 44100) * 1e6
    torch.testing.assert_close(
        cue, torch.tensor([-607.0, 607.0]).double(), atol=25, rtol=0
    )


def test_files_of_one_name_are_called_by_their_folders(tmp_path, caplog):
    """A folder a person, as in many sets."""
    for place in ("A/P1/hrir.sofa", "A/P2/hrir.SOFA", "A/P10/hrir.npz"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text(place)
    (tmp_path / "A" / "mean.sofa").touch()
    found = find_heads(tmp_path)
    assert list(found) == ["P1-hrir", "P2-hrir", "P10-hrir", "mean"]
    assert found["P2-hrir"] == ("sofa", tmp_path / "A/P2/hrir.SOFA")
    assert "3 files of the name hrir" in caplog.text
    # More of the path where one folder does not tell them apart.
    other = tmp_path / "B/P1/hrir.sofa"
    other.parent.mkdir(parents=True)
    other.write_text("another")
    assert list(find_heads(tmp_path)) == [
        *("A-P1-hrir", "A-P2-hrir", "A-P10-hrir", "B-P1-hrir", "mean"),
    ]
    # One head twice would stand in two splits.
    other.write_text("A/P1/hrir.sofa")
    with pytest.raises(ValueError, match="hrir is there twice, as .*A/P1"):
        find_heads(tmp_path)
    other.unlink()
    (tmp_path / "A/P1/hrir.npz").write_text("the same head in another form")
    with pytest.raises(ValueError, match="hrir is there twice"):
        find_heads(tmp_path)


def test_heads_are_found_by_their_names(tmp_path, cipic):
    for name in ("subject_124", "subject_008"):
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "hrir_final.mat").touch()
    (tmp_path / "a" / "kemar.sofa").touch()
    (tmp_path / "a" / "subject_021.sofa").touch()
    found = find_heads(tmp_path)
    names = ["kemar", "subject08", "subject21", "subject124"]
    assert list(found) == names
    assert [found[name][0] for name in names] == ["sofa", "mat", "sofa", "mat"]
    with pytest.raises(ValueError, match="subject03 is there twice"):
        find_heads(cipic)
    with pytest.raises(ValueError, match="no subjects subject99; there are ke"):
        load_hrtfs(tmp_path, 8000, subjects=["kemar", "subject99"])


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no HRTFs.*spherical head"):
        find_heads(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_hrtfs(tmp_path / "none", 8000)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a\.txt: no known form"):
        load_hrtfs(tmp_path / "a.txt", 8000)


def test_faulty_wav_folders(tmp_path):
    left, right = head_of_cipic()
    folder = tmp_path / "subject10"
    write_wavs(folder, right, left)
    with pytest.raises(ValueError, match="left and right are exchanged"):
        read_head("wav", folder)
    soundfile.write(folder / "25azright.wav", left[0].T, 44100, "PCM_16")
    with pytest.raises(ValueError, match=r"25azright\.wav: shape \(200, 50\)"):
        read_head("wav", folder)
    (folder / "25azright.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"25azright\.wav: cannot be read"):
        read_head("wav", folder)
    (folder / "25azright.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"25azright\.wav: no such"):
        read_head("wav", folder)


def test_faulty_arrays(tmp_path, cipic):
    path = tmp_path / "head.npz"
    with np.load(cipic / "cipic_subject_003.npz") as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "azimuth_deg": -arrays["azimuth_deg"]})
    with pytest.raises(ValueError, match=r"head\.npz: azimuth_deg is not"):
        read_head("npz", path)
    np.savez(path, **{**arrays, "hrir_r": arrays["hrir_r"][:24]})
    with pytest.raises(ValueError, match=r"shapes .*\(24, 50, 200\)"):
        read_head("npz", path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match="no arrays hrir_l"):
        read_head("npz", path)
    # An object array would need pickle, which could run code.
    np.savez(path, hrir_l=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"head\.npz: cannot be read as npz"):
        read_head("npz", path)
    for content in (b"", b"PK\x03\x04 cut off", b"version https://git-lfs"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as npz"):
            read_head("npz", path)
        (tmp_path / "hrir_final.mat").write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as mat"):
            read_head("mat", tmp_path / "hrir_final.mat")


def test_measured_heads(shared_data):
    heads = load_hrtfs(shared_data / "hrtf", 16000, method="nearest")
    assert heads.subjects == [
        "ari_dtf_nh2",
        "mit_kemar_normal_pinna",
        "subject03",
        "thk_ku100_hrir_l2354",
    ]
    ahead = [0, 6, 12, 18, 24]
    cue = itd(heads.responses[:, ahead, 8], 16000) * 1e6
    assert (cue.diff(dim=1) > 100).all()
    assert (cue[:, 2].abs() < 40).all()
    assert (cue[:, [0, 4]].abs() > 500).all()
    assert (cue[:, [0, 4]].abs() < 900).all()
    level = ild(heads.responses[:, ahead, 8])
    assert (level[:, 0] > 9).all() and (level[:, 4] < -9).all()
    assert (level.diff(dim=1) < 0).all() and (level[:, 2].abs() < 3).all()


def test_measured_head_between_its_directions(shared_data):
    path = shared_data / "hrtf" / "thk_ku100_hrir_l2354.sofa"
    smooth, rough = (
        itd(load_hrtfs(path, 16000, method=method).responses[0], 16000)
        .diff(n=2, dim=0)
        .abs()
        .mean()
        for method in ("barycentric", "nearest")
    )
    assert smooth < 0.75 * rough
