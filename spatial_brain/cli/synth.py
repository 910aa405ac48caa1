"""Write a corpus of spatial sound scenes that a YAML file describes.

    scenes: 100                # how many
    events: /data/events       # dry sounds, a sub-folder a class; a table;
                               # ESC-50 or FSD50K; null: embedded sounds
    speech: /data/LibriSpeech  # one more class, speech
    classes: [bell, knock]     # in the order of their labels; default: all
    duration: 60               # s
    formats: [foa, mic]        # also array, binaural, sum
    overlap: [1, 2, 3]         # largest number of events at once
    moving: 0.3                # share of events that move
    t60: [0.2, 0.8]            # s; 0: free field
    responses: /data/TAU       # measured rooms: TAU-SRIR DB, SOFA, a table
    noise: diffuse             # or a folder of ambience; null: none
    snr: [6, 30]               # dB
    dialect: starss23          # of the labels
    seed: 0

Further keys: split, interferers, interferer_probability, fold, rooms,
sample_rate, array, head, audio, activity, min_gap, longest_event, speeds,
room_size, responses_azimuth, min_distance, wall_distance, gain.

    spatial-brain synth scenes.yaml --output corpus/
    spatial-brain synth scenes.yaml --output corpus/ --rank 3 --num_ranks 16
    spatial-brain synth --merge corpus/     # after all ranks
    spatial-brain synth --verify corpus/

Without --rank the numbers come from torchrun's or SLURM's variables. A run
that was killed goes on where it stopped; the files are the same for any
number of ranks and workers. One rank alone merges by itself. Merging leaves
corpus.json (statistics, all files) and report.html (pictures and sounds).
"""

import sys

from spatial_brain.cli.options import MAX_LINES, add_option

HELP = "a corpus of sound scenes, with labels, described in YAML"


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add = parser.add_argument
    add("scenes", nargs="?", help="YAML file, see above")
    add_option(parser, "--output", help="folder of the corpus")
    add("--rank", type=int, help="number of this process, from 0")
    add("--num_ranks", type=int, help="how many processes share the scenes")
    add(
        "--num_workers",
        type=int,
        default=1,
        help="processes started by this one (1)",
    )
    add(
        "--merge",
        metavar="CORPUS",
        help="check, list and show all of it",
    )
    add("--verify", metavar="CORPUS", help="read and check every file")


def run(args):
    """Write, merge or verify a corpus.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    wanted = [args.scenes, args.merge, args.verify]
    if len([one for one in wanted if one is not None]) != 1:
        raise ValueError(
            "give either a YAML file and --output, or --merge, or --verify"
        )
    if args.merge:
        _merge(args.merge, args.num_workers)
    elif args.verify:
        _verify(args.verify, args.num_workers)
    else:
        _write(args)


def _write(args):
    """Write the scenes of this rank."""
    from spatial_brain.datasets.scene_corpus.generate import (
        describe,
        find_rank,
        generate_corpus,
    )
    from spatial_brain.datasets.scene_corpus.options import read_scene_options
    from spatial_brain.datasets.scene_corpus.sounds import open_bank

    if args.output is None:
        raise ValueError("--output must name the folder of the corpus")
    options = read_scene_options(args.scenes)
    rank, num_ranks = find_rank(args.rank, args.num_ranks)
    bank = open_bank(options)
    print(describe(options, bank), flush=True)
    written = generate_corpus(
        options,
        args.output,
        bank=bank,
        rank=rank,
        num_ranks=num_ranks,
        num_workers=args.num_workers,
    )
    share = f" of rank {rank} of {num_ranks}" if num_ranks > 1 else ""
    print(
        f"{args.output}: {written.num_new} scenes{share} written, "
        f"{written.num_own - written.num_new} were there"
    )
    if num_ranks == 1:
        _merge(args.output, args.num_workers)


def _merge(corpus, num_workers):
    """Write the table of contents and the page of a corpus."""
    from spatial_brain.datasets.scene_corpus.check import CONTENTS, merge_corpus
    from spatial_brain.reporting.sound_scenes import PAGE, scene_corpus_report

    contents = merge_corpus(corpus, num_workers)
    scene_corpus_report(corpus)
    statistics = contents["statistics"]
    events = statistics["events"]
    print(
        f"{corpus}: {contents['options']['scenes']} scenes, "
        f"{statistics['hours']:.3g} h, {sum(events.values())} events of "
        f"{len(events)} classes; listed in {CONTENTS}, shown in {PAGE}"
    )


def _verify(corpus, num_workers):
    """Print what is wrong with a corpus, or that nothing is."""
    from spatial_brain.datasets.scene_corpus.check import verify_corpus

    problems = verify_corpus(corpus, num_workers)
    for line in problems[:MAX_LINES]:
        print(line, file=sys.stderr)
    if problems:
        number = len(problems)
        raise ValueError(
            f"{corpus}: {number} problem{'s' * (number > 1)}"
            + (f", the first {MAX_LINES} above" if number > MAX_LINES else "")
        )
    print(f"{corpus}: all scenes are there and undamaged")
