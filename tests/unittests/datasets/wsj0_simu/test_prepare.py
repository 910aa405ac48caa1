"""Speech for the scenes, and one interface to three ways of holding them."""

import json

import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.microphone_pairs import wavs
from spatial_brain.datasets.speech.pool import (
    SpeechPool,
    part_of_stage,
    prepare_speech,
)
from spatial_brain.datasets.wsj0_simu.dataset import (
    SimulatedPairs,
    render_items,
)
from spatial_brain.datasets.wsj0_simu.prepare import (
    num_trials,
    open_pairs,
    prepare_wsj0_simu,
    trial_rooms,
)

FS = 16000
SHORT = {"T": 0.5}
ROOMS = {"num_rooms": 3, "rirs_per_room": 2, "signals_per_rir": 2}


def write_speech(path, seed, seconds=0.4, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(seed)
    samples = 0.1 * rng.standard_normal(int(seconds * FS))
    soundfile.write(path, samples, FS, **options)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """WSJ0 as some have it: upper case, two discs, NIST sphere files."""
    folder = tmp_path_factory.mktemp("csr1")
    discs = {
        "11-1.1/WSJ0/SI_TR_S": ["011", "01A"],
        "11-2.1/WSJ0/SI_TR_S": ["02B"],
        "11-6.1/WSJ0/SI_DT_05": ["050"],
        "11-14.1/WSJ0/SI_ET_05": ["440"],
        "11-1.1/WSJ0/SD_TR_S": ["001"],
    }
    seed = 0
    for subset, speakers in discs.items():
        for speaker in speakers:
            for number in range(2):
                seed += 1
                name = f"{speaker}C02{number:02d}.WV1"
                path = folder / subset / speaker / name
                write_speech(path, seed, format="NIST", subtype="PCM_16")
                write_speech(path.with_suffix(".WV2"), seed, format="NIST")
    return folder


@pytest.fixture(scope="module")
def speech(corpus, tmp_path_factory):
    return prepare_speech(corpus, tmp_path_factory.mktemp("prepared"))


def test_wsj0_of_any_case(speech):
    found = {part: read_json(path) for part, path in speech.items()}
    assert {part: len(entries) for part, entries in found.items()} == {
        "tr": 6,
        "dt": 2,
        "et": 2,
    }
    speakers = {entry["speaker"] for entry in found["tr"].values()}
    assert speakers == {"si_tr_s-011", "si_tr_s-01a", "si_tr_s-02b"}
    assert found["et"]["440c0200"]["num_samples"] == 6400
    assert found["et"]["440c0200"]["wav"].endswith("440C0200.WV1")


def test_wsj0_as_the_original_wants_it(tmp_path):
    for part in ("tr", "dt", "et"):
        name = tmp_path / part / f"si_{part}_s" / "011" / f"{part}1"
        write_speech(name.with_suffix(".wav"), 0)
        write_speech(name.with_suffix(".wv1"), 0, format="NIST")
    paths = prepare_speech(tmp_path, tmp_path / "out")
    for part, path in paths.items():
        [entry] = read_json(path).values()
        assert entry["wav"].endswith(f"{part}1.wav")


def test_corpora_without_parts_are_divided_by_speakers(tmp_path):
    for speaker in range(12):
        for number in range(2):
            write_speech(tmp_path / "in" / f"s{speaker}" / f"{number}.wav", 1)
    paths = prepare_speech(tmp_path / "in", tmp_path / "out")
    speakers = {
        part: {entry["speaker"] for entry in read_json(path).values()}
        for part, path in paths.items()
    }
    assert [len(speakers[part]) for part in ("tr", "dt", "et")] == [10, 1, 1]
    assert len(set.union(*speakers.values())) == 12


def test_librispeech_splits_become_parts(tmp_path):
    for split, speaker in (
        ("train-clean-100", 1),
        ("dev-clean", 2),
        ("test-clean", 3),
    ):
        folder = tmp_path / "LibriSpeech" / split / str(speaker) / "1"
        write_speech(folder / f"{speaker}-1-0000.flac", speaker)
    paths = prepare_speech(tmp_path, tmp_path / "out")
    parts = {part: list(read_json(path)) for part, path in paths.items()}
    assert parts == {"tr": ["1-1-0000"], "dt": ["2-1-0000"], "et": ["3-1-0000"]}


def test_missing_corpora_and_speakers_in_two_parts(tmp_path):
    with pytest.raises(FileNotFoundError, match="LDC93S6A"):
        prepare_speech(tmp_path / "nowhere", tmp_path)
    for split in ("train", "valid", "test"):
        write_speech(tmp_path / "in" / split / "same" / f"{split}.wav", 1)
    with pytest.raises(ValueError, match="speaker same is in tr and in dt"):
        prepare_speech(tmp_path / "in", tmp_path)
    write_speech(tmp_path / "two" / "a" / "1.wav", 1)
    write_speech(tmp_path / "two" / "b" / "1.wav", 1)
    with pytest.raises(ValueError, match="too few speakers"):
        prepare_speech(tmp_path / "two", tmp_path)


def test_stages_have_their_own_speakers():
    stages = "pretrain train preval val pretest test pretest_ins_x".split()
    parts = [part_of_stage(stage) for stage in stages]
    assert parts == ["tr", "tr", "dt", "dt", "et", "et", "et"]


def test_speech_is_a_stretch_of_following_utterances(tmp_path):
    lengths = [500, 300, 400]
    ramp, entries = [], {}
    for number, length in enumerate(lengths):
        samples = torch.arange(length) / 1000 + number
        path = tmp_path / f"{number}.wav"
        write_audio(path, samples, FS, subtype="FLOAT")
        entries[str(number)] = {
            "wav": str(path),
            "speaker": "a",
            "num_samples": length,
        }
        ramp.append(samples)
    (tmp_path / "speech.json").write_text(json.dumps(entries))
    pool = SpeechPool(tmp_path / "speech.json", 1000)
    for seed in range(8):
        drawn = pool.draw(np.random.RandomState(seed))
        rng = np.random.RandomState(seed)
        rng.randint(1)
        first = rng.randint(3)
        order = [ramp[(first + k) % 3] for k in range(4)]
        count, total = 0, 0
        while total < 1000:
            total += len(order[count])
            count += 1
        start = rng.randint(total - 1000 + 1)
        expected = torch.cat(order[:count])[start : start + 1000]
        torch.testing.assert_close(drawn, expected - expected.mean())


@pytest.fixture(scope="module")
def pairs(speech):
    return SimulatedPairs("pretrain", 8, speech["tr"], SHORT)


def test_an_example_does_not_depend_on_what_came_before(pairs, speech):
    first = pairs[5]
    again = SimulatedPairs("pretrain", 6, speech["tr"], SHORT)[5]
    torch.testing.assert_close(first["waveform"], again["waveform"])
    torch.testing.assert_close(first["labels"], again["labels"])
    assert not torch.allclose(first["waveform"], pairs[4]["waveform"])
    assert first["waveform"].shape == (8000, 2)
    assert set(first) == {"id", "room", "waveform", "labels"}


def test_workers_change_nothing(pairs):
    loader = torch.utils.data.DataLoader(
        pairs, batch_size=4, num_workers=1, multiprocessing_context="fork"
    )
    batches = list(loader)
    waveform = torch.cat([batch["waveform"] for batch in batches])
    torch.testing.assert_close(waveform[6], pairs[6]["waveform"])
    assert batches[1]["labels"]["T60"].dtype == torch.float32
    torch.testing.assert_close(
        batches[1]["labels"]["T60"][2], pairs[6]["labels"]["T60"]
    )


def test_batches_rendered_at_once_are_the_same(pairs, speech):
    raw = SimulatedPairs("pretrain", 8, speech["tr"], SHORT, render=False)
    rendered = render_items([raw[i] for i in range(8)], raw.distribution)
    for index, item in enumerate(rendered):
        alone = pairs[index]
        assert item["id"] == alone["id"]
        torch.testing.assert_close(
            item["waveform"], alone["waveform"], atol=1e-4, rtol=1e-3
        )
        for name, value in alone["labels"].items():
            torch.testing.assert_close(
                item["labels"][name], value, atol=2e-3, rtol=1e-3
            )


def test_epochs_renew_only_when_asked(speech):
    still = SimulatedPairs("pretrain", 2, speech["tr"], SHORT)
    fresh = SimulatedPairs("pretrain", 2, speech["tr"], SHORT, renew=True)
    before = still[0]["waveform"]
    torch.testing.assert_close(fresh[0]["waveform"], before)
    still.set_epoch(3)
    fresh.set_epoch(3)
    torch.testing.assert_close(still[0]["waveform"], before)
    third = fresh[0]["waveform"]
    assert not torch.allclose(third, before)
    fresh.set_epoch(4)
    assert not torch.allclose(fresh[0]["waveform"], third)


@pytest.mark.parametrize(
    "options",
    [{"noise_type": "diffuse_babble"}, {"compat": True}],
)
def test_other_noise_is_part_of_the_example(speech, options):
    which = {**SHORT, **options}
    item = SimulatedPairs("preval", 1, speech["dt"], which)[0]
    again = SimulatedPairs("preval", 1, speech["dt"], which)[0]
    torch.testing.assert_close(item["waveform"], again["waveform"])
    assert torch.isfinite(item["waveform"]).all()


def test_snr_follows_the_noise_in_the_original(speech):
    # One random state: speaker, utterance, start, noise, then the SNR.
    which = {**SHORT, "compat": True}
    data = SimulatedPairs("preval", 1, speech["dt"], which)
    rng = np.random.RandomState(2_000_000)
    data.source.draw(rng)
    rng.standard_normal((8000, 2))
    assert float(data[0]["labels"]["SNR"]) == pytest.approx(
        rng.uniform(15, 30), rel=1e-6
    )


def test_certain_rooms_share_what_they_should(speech):
    data = SimulatedPairs(
        "train",
        source=speech["tr"],
        distribution=SHORT,
        rooms=(4, 2),
        rirs_per_room=2,
        signals_per_rir=2,
    )
    items = [data[index] for index in range(len(data))]
    assert [item["room"] for item in items] == [4] * 4 + [5] * 4
    assert items[0]["id"] == "train_R5_0000"
    values = {
        name: [float(item["labels"][name]) for item in items]
        for name in ("VOL", "DRR", "SNR")
    }
    assert values["VOL"][0] == pytest.approx(values["VOL"][3])
    assert values["VOL"][0] != pytest.approx(values["VOL"][4])
    # Two signals of one response, late reverberation included.
    assert values["DRR"][0] == pytest.approx(values["DRR"][1], abs=1e-4)
    assert values["DRR"][0] != pytest.approx(values["DRR"][2], abs=1e-4)
    assert values["SNR"][0] != pytest.approx(values["SNR"][1])


def test_trials():
    rooms = 2 ** np.arange(1, 9)
    assert [num_trials(r) for r in rooms] == [16, 8, 4, 2, 1, 1, 1, 1]
    assert trial_rooms(8, 0) == (0, 8)
    assert trial_rooms(8, 3) == (24, 8)
    with pytest.raises(ValueError, match="trial"):
        trial_rooms(8, -1)


def prepare(corpus, folder, storage, **options):
    return prepare_wsj0_simu(
        corpus,
        folder,
        stages={
            "preval": {"size": 5, "with_direct": True},
            "val": {**ROOMS, "distribution": {"snr_range": [20, 20]}},
        },
        storage=storage,
        distribution=SHORT,
        **options,
    )


@pytest.mark.parametrize("storage", ["shards", "wav"])
def test_stored_examples_are_the_simulated_ones(corpus, tmp_path, storage):
    fly = prepare(corpus, tmp_path / "fly", "on_the_fly")
    held = prepare(corpus, tmp_path / "held", storage, items_per_file=4)
    for stage in fly:
        options = {"with_direct": stage == "preval"}
        expected = open_pairs(fly[stage], **options)
        stored = open_pairs(held[stage], **options)
        assert len(stored) == len(expected)
        for index in (0, 4, len(expected) - 1):
            one, other = expected[index], stored[index]
            assert one.keys() == other.keys()
            for key in one:
                if key in ("waveform", "direct"):
                    torch.testing.assert_close(
                        one[key], other[key], atol=6e-4, rtol=0
                    )
                elif key == "labels":
                    torch.testing.assert_close(one[key], other[key])
                else:
                    assert one[key] == other[key]
        with pytest.raises(IndexError):
            stored[len(stored)]
        first = open_pairs(held[stage], crop=0.1)[0]
        assert first["waveform"].shape == (1600, 2)
    one, other = (open_pairs(p["val"], rooms=(1, 2)) for p in (fly, held))
    assert [item["id"] for item in one] == [item["id"] for item in other]
    assert other[0]["room"] == 1 and len(other) == 8
    assert float(other[0]["labels"]["SNR"]) == 20.0
    for paths in (fly, held):
        with pytest.raises(ValueError, match="rooms 2 to 3 are wanted"):
            open_pairs(paths["val"], rooms=(2, 2))
        with pytest.raises(ValueError, match="a room an example"):
            open_pairs(paths["preval"], rooms=(0, 1))
    with pytest.raises(ValueError, match="direct sound is not stored"):
        open_pairs(held["val"], with_direct=True)
    with pytest.raises(ValueError, match="renew cannot be chosen"):
        open_pairs(held["val"], renew=True)


def test_ranks_share_and_a_second_run_makes_nothing(
    corpus, tmp_path, monkeypatch
):
    for storage in ("shards", "wav"):
        folder = tmp_path / storage
        for rank in (1, 0):
            paths = prepare(
                corpus,
                folder,
                storage,
                items_per_file=3,
                rank=rank,
                num_ranks=2,
            )
            if storage == "shards" and rank == 1:
                with pytest.raises(FileNotFoundError):
                    open_pairs(paths["preval"])
        assert len(open_pairs(paths["preval"])) == 5

    def never(*_):
        raise AssertionError("simulated again")

    monkeypatch.setattr(SimulatedPairs, "simulate", never)
    for storage in ("shards", "wav"):
        prepare(corpus, tmp_path / storage, storage, items_per_file=3)


def test_an_interrupted_run_goes_on(corpus, tmp_path, monkeypatch):
    written = []
    original = wavs._write_wav

    def interrupted(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments[-1])
        return original(*arguments)

    monkeypatch.setattr(wavs, "_write_wav", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path, "wav")
    monkeypatch.setattr(wavs, "_write_wav", original)
    made = []
    simulate = SimulatedPairs.simulate

    def counted(self, index):
        made.append(index)
        return simulate(self, index)

    monkeypatch.setattr(SimulatedPairs, "simulate", counted)
    paths = prepare(corpus, tmp_path, "wav")
    assert made[:3] == [2, 3, 4]
    assert len(open_pairs(paths["preval"])) == 5
    facts = read_json(tmp_path / "preval" / "preval_000000.json")
    assert np.shape(facts["scene"]["microphones"]) == (2, 3)


def test_contradictions_are_refused(speech, corpus, tmp_path):
    with pytest.raises(ValueError, match="either size"):
        SimulatedPairs("train", 3, speech["tr"], rooms=(0, 1))
    with pytest.raises(ValueError, match="at least one example"):
        SimulatedPairs("pretrain", 0, speech["tr"])
    with pytest.raises(ValueError, match="storage must be"):
        prepare(corpus, tmp_path, "tape")
    data = SimulatedPairs("pretrain", 1, speech["tr"], SHORT, crop=0.6)
    with pytest.raises(ValueError, match="crop"):
        data[0]
