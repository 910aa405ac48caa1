"""What every recipe does the same way and no experiment wants to change.

``run_experiment`` parses the command line, starts distributed training,
makes the experiment folder, prepares the data on one process, trains and
evaluates. ``SpatialBrain`` is a SpeechBrain ``Brain`` with the guards that
all recipes need. Neither knows a task.
"""

import contextlib
import fcntl
import gc
import importlib.metadata
import inspect
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import ruamel.yaml
import speechbrain as sb
import torch

# Before there is a group: PyTorch imports it with the first distributed
# network, and it would keep the group alive in arguments' defaults.
import torch.distributed.nn.functional
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import (
    ddp_barrier,
    ddp_init_group,
    get_rank,
    if_main_process,
)
from speechbrain.utils.logger import get_logger
from speechbrain.utils.run_opts import HELP_TEXTS
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from spatial_brain.atomic import atomic_path
from spatial_brain.stopping import one_line_when_stopped
from spatial_brain.suggestions import nearest
from spatial_brain.training_time import StepClock, in_words

logger = get_logger(__name__)

# What package and scripts raise for bad input.
_REFUSALS = (ImportError, OSError, ValueError)
LEGACY_FLAGS = ("--distributed_launch", "--local-rank", "--local_rank")
# Stands for "=" in values, at which SpeechBrain would split them. No command
# line can hold it.
_EQUALS = "\0"
# What a run may resume with other values of: it changes how long or how fast
# is trained, where files lie, or what is evaluated, but not what is learned.
_CHANGEABLE = frozenset(
    """
    number_of_epochs num_workers preparation_workers eval_batch_size
    valid_dataloader_opts test_dataloader_opts audio_in_memory speech_in_memory
    output_folder save_folder manifest_folder train_log train_logger
    checkpointer ckpt_interval_minutes download check_counts skip_prep
    compile_module_keys scores num_test_rotations merge_angle
    detection_hop sdr itd perceptual save_audio n_audio_to_save num_examples
    embedding_method inference_keys window_length skip_nonfinite_grads
    adapters_only
    """.split()
)
# Keys of dictionaries whose names are the user's to choose, or are checked by
# what they are options of: readers and writers of corpora.
_FREE_KEY = re.compile(
    r"stages: pretest_ins_\w+$|(?:corpora|synthetic_data): \w+: "
)
_RESUME_ANYWAY = "--resume_anyway"
# What PyTorch makes of an error in a worker: its kind, the file of the last
# frame, and its text.
_ERROR_OF_WORKER = re.compile(
    r'Caught (\w+) in DataLoader worker .*  File "([^"]+)", line [^\n]*\n'
    r" +raise .*\n[\w.]*\1: (.*)",
    re.DOTALL,
)
# A training this long on a CPU is announced, seconds.
_LONG = 900
# Options whose values are paths: 2023, 1e5, "a: b" and "x #2" are folders.
_PATH_OPTION = re.compile(
    r"--(\w+_folder|\w+_root|initial_weights|pretext|hrtf|base_folder_dm"
    r"|frozen_encoders|train_log|train_scenes|warm_start)"
)
# Those among them that may be lists or dictionaries of paths.
_PATHS_OPTION = "--hrtf"


class SpatialBrain(sb.Brain):
    """A ``Brain`` that is safe to kill, to resume, to spread and to test.

    * Batch normalisation works with several CPU processes.
    * Random numbers of a training step depend on seed, rank and step alone:
      ranks differ, and a resumed run continues as the unbroken one would.
    * Gradients of all parameter groups are clipped together;
      ``max_grad_norm: 0`` switches clipping off.
    * A data set with ``set_epoch`` learns the epoch.
    * The learning rate follows ``learning_rate_schedule``, a function of the
      epochs done (see :mod:`spatial_brain.nnet.schedules`), at every step.
    * A step whose gradient is not finite is named and left out; more of them
      in an epoch than ``--nonfinite_patience`` end the training. A loss that
      is not finite in validation or test is an error: nothing of that epoch
      is saved.
    * ``--test_only`` without a checkpoint is an error, not an evaluation of
      random weights.

    The hyper-parameters must hold ``seed`` and ``learning_rate_schedule``
    (null: the optimiser's own rate).

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`speechbrain.Brain`.

    Example
    -------
    >>> import torch
    >>> class Toy(SpatialBrain):
    ...     def compute_forward(self, batch, stage):
    ...         return self.modules.model(batch)
    ...     def compute_objectives(self, predictions, batch, stage):
    ...         return predictions.square().mean()
    >>> brain = Toy(
    ...     {"model": torch.nn.Linear(1, 1)},
    ...     lambda parameters: torch.optim.SGD(parameters, 0.1),
    ...     {"seed": 1, "learning_rate_schedule": None},
    ...     {"device": "cpu", "noprogressbar": True},
    ... )
    >>> brain.fit(range(1), torch.utils.data.DataLoader([torch.ones(1)]))
    """

    # What was not finite since the last step of the optimiser.
    _nonfinite = None
    # A configuration that takes minutes, named where another takes hours.
    quick = None
    # The data set of the training, once run_experiment has it.
    training_set = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._clock = StepClock()

    def describe_training(self):
        """What the model is for and what it learned from, for its card.

        An experiment adds what it knows of its data; a key is a field of
        :class:`spatial_brain.inference.pretrained.card.ModelCard`.

        Returns
        -------
        dict
            ``sample_rate`` (Hz), ``seeds`` and ``items``, the length of the
            training set, as far as they are known.
        """
        facts = {
            "sample_rate": getattr(self.hparams, "sample_rate", None),
            "seeds": [self.hparams.seed],
        }
        if self.training_set is not None:
            facts["items"] = len(self.training_set)
        return facts

    def data_name(self, name):
        """Name of a data set, or what stands for it, for the model's card.

        Arguments
        ---------
        name : str
            Of the real data.

        Returns
        -------
        str
        """
        synthetic = getattr(self.hparams, "synthetic_data", None)
        return name if not synthetic else f"synthetic data in place of {name}"

    def on_fit_batch_start(self, batch, should_step):
        """Seed the generators of this step and set its learning rate.

        Arguments
        ---------
        batch : Any
            The batch; not used.
        should_step : bool
            Whether the optimiser steps on this batch; not used.
        """
        if self.device_type == "cpu":
            self._estimate_time(self._clock.begin_step())
        rank = get_rank() or 0
        words = (self.hparams.seed, rank, self.optimizer_step, self.step)
        torch.manual_seed(_mix(words))
        schedule = self.hparams.learning_rate_schedule
        if schedule is not None:
            rate = schedule(self.epoch - 1 + (self.step - 1) / self.num_steps)
            for optimizer in self.optimizers_dict.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate

    def _estimate_time(self, seconds):
        """Log how long the training will take, where that is long."""
        limit = getattr(getattr(self.hparams, "epoch_counter", 0), "limit", 0)
        steps = (limit - self.epoch + 1) * self.num_steps
        if seconds is None or seconds * steps < _LONG:
            return
        logger.info(
            "without a GPU this takes about %s for %d epochs of %d steps, %.2g "
            "s each on %d threads, evaluation not counted%s",
            in_words(seconds * steps),
            limit - self.epoch + 1,
            self.num_steps,
            seconds,
            torch.get_num_threads(),
            f"; {self.quick} takes minutes" if self.quick else "",
        )

    def check_loss_isfinite(self, loss):
        """Note a loss that is not finite; its step will be left out.

        Arguments
        ---------
        loss : torch.Tensor
            Scalar.
        """
        if not torch.isfinite(loss):
            self._nonfinite = f"the {self._loss_name()} is {loss.item()}"

    def optimizers_step(self):
        """Clip the gradients of all groups, then step every optimiser.

        Raises
        ------
        ValueError
            If too many steps of the epoch were left out, because loss or
            gradients were not finite.
        """
        optimizers = self.freeze_optimizers(self.optimizers_dict or {})
        for optimizer in optimizers.values():
            self.scaler.unscale_(optimizer)
        parameters = [
            parameter
            for optimizer in optimizers.values()
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]
        norm = torch.nn.utils.clip_grad_norm_(
            parameters, self.max_grad_norm or math.inf
        )
        # Half precision overflows now and then: the scaler leaves that out.
        # Processes share their gradients, so that all come to the same.
        lost = not self.scaler.is_enabled() and not torch.isfinite(norm)
        if lost and self._nonfinite is None:
            self._nonfinite = f"the gradient has the norm {norm.item()}"
        if self._nonfinite is not None:
            self._count_nonfinite()
        if not lost:
            for optimizer in optimizers.values():
                self.scaler.step(optimizer)
            self.scaler.update()
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1

    def _count_nonfinite(self):
        """Name a step that is left out; end the training after too many."""
        place = f"epoch {self.epoch}, step {self.step}: {self._nonfinite}"
        self._nonfinite = None
        self.nonfinite_count += 1
        lost = [
            name
            for name, buffer in self.modules.named_buffers()
            if not torch.isfinite(buffer).all()
        ]
        if lost:
            place += f", and with it {lost[0]} of the network"
        elif self.nonfinite_count <= self.nonfinite_patience:
            logger.warning(
                f"{place}; the step is left out ({self.nonfinite_count} of at "
                f"most {self.nonfinite_patience} an epoch)"
            )
            return
        raise ValueError(
            f"{place} ({self.nonfinite_count} steps of this epoch). "
            + self._nonfinite_remedy()
        )

    def _loss_name(self):
        """The loss of the YAML, as messages call it."""
        loss = getattr(self.hparams, "loss", None)
        loss = getattr(loss, "func", loss)
        name = getattr(loss, "__name__", type(loss).__name__)
        return "loss" if loss is None else f"loss {name}"

    def _nonfinite_remedy(self):
        """What can be done when numbers are none, and what is kept."""
        remedy = (
            "Look at the data of this batch, and try a lower learning rate or "
            "--max_grad_norm"
        )
        if not (self.checkpointer and self.checkpointer.list_checkpoints()):
            return remedy
        return (
            f"{remedy}, with {_RESUME_ANYWAY} from the last checkpoint in "
            f"{self.checkpointer.checkpoints_dir}"
        )

    def evaluate_batch(self, batch, stage):
        """Loss of a batch of validation or test, which has to be finite.

        Arguments
        ---------
        batch : Any
            The batch.
        stage : speechbrain.Stage
            Validation or test.

        Returns
        -------
        torch.Tensor
            The loss.

        Raises
        ------
        ValueError
            If the loss is not finite.
        """
        loss = super().evaluate_batch(batch, stage)
        if not torch.isfinite(loss):
            place = "test"
            if stage == sb.Stage.VALID:
                place = f"validation of epoch {self.epoch}, not saved"
            raise ValueError(
                f"{place}: the {self._loss_name()} is {loss.item()}. "
                + self._nonfinite_remedy()
            )
        return loss

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best checkpoint; refuse to evaluate random weights.

        Arguments
        ---------
        max_key : str, optional
            Metric whose largest value is best.
        min_key : str, optional
            Metric whose smallest value is best.

        Raises
        ------
        FileNotFoundError
            If only a test was asked for and there is no checkpoint.
        """
        if self.test_only and not self.checkpointer.list_checkpoints():
            raise FileNotFoundError(
                "--test_only needs a trained model, but there is no checkpoint "
                f"in {self.checkpointer.checkpoints_dir}. Train first, or give "
                "the --output_folder of a finished run"
            )
        super().on_evaluate_start(max_key=max_key, min_key=min_key)

    def _fit_train(self, train_set, epoch, enable):
        self.epoch, self.num_steps = epoch, len(train_set)
        self._clock.begin_epoch()
        dataset = getattr(train_set, "dataset", None)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        super()._fit_train(train_set, epoch, enable)

    def _wrap_distributed(self):
        # SyncBatchNorm exists on GPUs only; on CPUs each rank keeps its own.
        if not (self.distributed_launch and self.device_type == "cpu"):
            super()._wrap_distributed()
            return
        for name, module in self.modules.items():
            if any(p.requires_grad for p in module.parameters()):
                self.modules[name] = DistributedDataParallel(
                    module, find_unused_parameters=self.find_unused_parameters
                )


def _mix(words):
    """Hash integers into one 63-bit seed (the step of SplitMix64)."""
    state = 0
    for word in words:
        state = (state ^ word) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1


def parse_arguments(argv):
    """Parse a recipe's command line, launch flags of old commands included.

    Arguments
    ---------
    argv : list of str
        Arguments without the name of the script.

    Returns
    -------
    tuple
        Path of the YAML file, run options and overrides, as
        ``speechbrain.parse_arguments`` gives them.

    Raises
    ------
    FileNotFoundError
        If the YAML file does not exist.
    ValueError
        If an option is no key of the YAML file and no run option, a value
        without default is missing, or an old launch flag is given and no
        launcher started the process.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> _ = path.write_text("seed: 1")
    >>> parse_arguments([str(path), "--seed", "3"])[2]
    'seed: 3'
    >>> parse_arguments([str(path), "--sede", "3"])
    Traceback (most recent call last):
    ...
    ValueError: no option --sede in ...a.yaml; did you mean --seed?
    """
    kept = [
        arg
        for arg in argv
        if arg.split("=")[0] not in (*LEGACY_FLAGS, _RESUME_ANYWAY)
    ]
    legacy = [arg for arg in argv if arg.split("=")[0] in LEGACY_FLAGS]
    if legacy and "RANK" not in os.environ:
        raise ValueError(
            "--distributed_launch alone starts nothing. Type: torchrun "
            f"--standalone --nproc_per_node=<GPUs> {sys.argv[0]} "
            + " ".join(kept)
        )
    hparams_file, run_opts, overrides = sb.parse_arguments(
        [_mark_equals(argument) for argument in _quote_paths(kept)]
    )
    hparams_file = hparams_file.replace(_EQUALS, "=")
    overrides = overrides.replace(_EQUALS, "=")
    if not Path(hparams_file).is_file():
        raise FileNotFoundError(
            f"no such hyper-parameter file: {hparams_file} "
            f"(looked for from {Path.cwd()})"
        )
    _check_options(hparams_file, overrides)
    return hparams_file, run_opts, overrides


def _quote_paths(argv):
    """Make values of options that are paths text for YAML."""
    quoted, option = [], None
    for argument in argv:
        name, equals, value = argument.partition("=")
        if option is not None and not argument.startswith("--"):
            argument = _quoted(argument, option)
        elif equals and _PATH_OPTION.fullmatch(name):
            argument = f"{name}={_quoted(value, name)}"
        option = argument if _PATH_OPTION.fullmatch(argument) else None
        quoted.append(argument)
    return quoted


def _quoted(value, option):
    """A path as YAML text; null, tags and what is quoted stay."""
    if value in ("null", "~") or value[:1] in ("!", '"', "'"):
        return value
    listed = value[:1] + value[-1:] in ("[]", "{}")
    if option == _PATHS_OPTION and listed and not Path(value).exists():
        return value
    return json.dumps(value, ensure_ascii=False)


def _mark_equals(argument):
    """Hide each "=" of a value; that between option and value stays."""
    if not argument.startswith("--"):
        return argument.replace("=", _EQUALS)
    name, equals, value = argument.partition("=")
    return name + equals + value.replace("=", _EQUALS)


def _check_options(hparams_file, overrides):
    """Refuse options that do not exist, and demand those without default."""
    known = _tags(Path(hparams_file).read_text(encoding="utf-8"))
    try:
        given = _tags(overrides)
        new = ruamel.yaml.YAML().compose(overrides or "{}")
    except (ValueError, ruamel.yaml.YAMLError) as error:
        raise ValueError(
            "options are --name value, each once, the value in YAML; cannot "
            f"read: {overrides}"
        ) from error
    for name in given:
        if name not in known:
            others = (*HELP_TEXTS, _RESUME_ANYWAY.removeprefix("--"))
            option = nearest(name, [*known, *others])
            remedy = "options are its keys and those of --help"
            if option is not None:
                remedy = f"did you mean --{option}?"
            raise ValueError(f"no option --{name} in {hparams_file}; {remedy}")
    _check_dictionaries(hparams_file, new)
    for name, tag in known.items():
        if tag == "!PLACEHOLDER" and name not in given:
            raise ValueError(f"{hparams_file} needs --{name}, see there")


def _check_dictionaries(hparams_file, given):
    """Refuse keys inside of dictionaries that no YAML file beside has there."""
    given = [
        (name.value, value)
        for name, value in given.value
        if isinstance(value, ruamel.yaml.MappingNode)
    ]
    if not given:
        return
    files = {Path(hparams_file), *Path(hparams_file).parent.glob("*.yaml")}
    known = {}
    for file in sorted(files):
        root = ruamel.yaml.YAML().compose(file.read_text(encoding="utf-8"))
        for key, value in getattr(root, "value", ()):
            if isinstance(value, ruamel.yaml.MappingNode):
                known.setdefault(key.value, {"": set()})[""].add(str(value.tag))
                _collect_keys(known[key.value], value)
    for name, value in given:
        if known.get(name, {}).keys() > {""} and all(
            tag.endswith(":map") for tag in known[name][""]
        ):
            _check_keys(name, name, value, known, hparams_file)


def _collect_keys(known, node):
    """Add the keys of a dictionary and of those in it, at any depth."""
    for key, value in node.value:
        known[key.value] = None
        if isinstance(value, ruamel.yaml.MappingNode):
            _collect_keys(known, value)


def _check_keys(name, path, node, known, hparams_file):
    """Refuse what is no key of an option's dictionaries."""
    keys = {*known[name], *known.get(path.rpartition(": ")[2], ())} - {""}
    if name.endswith("_dataloader_opts"):
        keys |= {*inspect.signature(DataLoader).parameters}
    for key, value in node.value:
        if key.value not in keys and not _FREE_KEY.match(
            f"{path}: {key.value}"
        ):
            close = nearest(str(key.value), keys)
            raise ValueError(
                f"no key '{key.value}' in --{path} of {hparams_file}; "
                + (
                    f"did you mean {close}?"
                    if close
                    else f"there are: {', '.join(sorted(keys))}"
                )
            )
        if isinstance(value, ruamel.yaml.MappingNode):
            _check_keys(
                name, f"{path}: {key.value}", value, known, hparams_file
            )


def _tags(text):
    """Keys of a YAML text and the tags of their values."""
    node = ruamel.yaml.YAML().compose(text or "{}")
    tags = {key.value: value.tag for key, value in node.value}
    if len(tags) < len(node.value):
        raise ValueError("a key is there twice")
    return tags


@contextlib.contextmanager
def one_line_errors():
    """End a script that got bad input with one line and exit code 2.

    Bad input is what package or script refuse by a ``raise`` of their own;
    its traceback goes to the ``log.txt`` of the run, if there is one. Any
    other error passes with its traceback.

    Example
    -------
    >>> with one_line_errors():
    ...     parse_arguments(["missing.yaml"])
    Traceback (most recent call last):
    ...
    SystemExit: 2
    """
    try:
        yield
    except _MainProcessError:
        # The main process reports what it refused.
        raise SystemExit(2) from None
    except _REFUSALS as error:
        found = _ERROR_OF_WORKER.match(str(error))
        if not (_is_ours(found[2]) if found else _is_refusal(error)):
            raise
        # The run's log takes messages of this level, the console does not.
        logging.getLogger().debug("Stopped by bad input:", exc_info=error)
        # One of the processes of a launcher, which may have no group yet.
        process = getattr(error, "process", None)
        if process or os.environ.get("RANK", "0") == "0":
            prefix = f"process {process}: " if process else ""
            text = found[3] if found else str(error)
            print(prefix + " ".join(text.split()), file=sys.stderr)
        raise SystemExit(2) from None


class _MainProcessError(RuntimeError):
    """The main process refused bad input while this one waited."""


def _is_refusal(error):
    """Whether the error comes from a ``raise`` in the package or script."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.line.startswith("raise ") and _is_ours(last.filename)


def _is_ours(file):
    """Whether a file of code belongs to the package or to the script."""
    folders = Path(__file__).parent, Path(sys.argv[0]).resolve().parent
    source = Path(file).resolve()
    return any(source.is_relative_to(folder) for folder in folders)


@contextlib.contextmanager
def _dead_workers():
    """Name what a killed process that loads data needs."""
    try:
        yield
    except RuntimeError as error:
        # PyTorch knows no kind of error of its own for it.
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise ChildProcessError(
            f"{str(error).splitlines()[0].rstrip('. ')}; out of memory? Run "
            "the same command again to go on from the last checkpoint, with "
            "fewer --num_workers if it happens again"
        ) from error


def on_main_process(function, *args, **kwargs):
    """Run a function on the main process; all ranks learn how it ended.

    Arguments
    ---------
    function : callable
        What to run.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    Any
        What the function returned on the main process, on every rank.

    Raises
    ------
    Exception
        The function's own on the main process, a ``RuntimeError`` naming it
        on the others, so that no rank waits for one that has failed.

    Example
    -------
    >>> on_main_process(max, 1, 2)
    2
    """
    result, error = None, None
    if if_main_process():
        try:
            result = function(*args, **kwargs)
        except Exception as raised:
            error = raised
    if torch.distributed.is_initialized():
        kind = RuntimeError
        if isinstance(error, _REFUSALS) and _is_refusal(error):
            kind = _MainProcessError
        box = [result, None if error is None else f"{error}", kind]
        torch.distributed.broadcast_object_list(box, src=0)
        result = box[0]
        if box[1] is not None and error is None:
            raise box[2](f"the main process failed: {box[1]}")
    if error is not None:
        raise error
    return result


def _make_output_folder(folder, hparams_file, overrides):
    """Make the experiment folder, note what the run consists of, start log."""
    sb.create_experiment_directory(
        folder, hparams_file, overrides, save_env_desc=False
    )
    # It lists every font of the machine in the log, for every figure.
    logging.getLogger("matplotlib").setLevel(logging.INFO)
    if if_main_process():
        # SpeechBrain copies the file of its caller, which is this module.
        (Path(folder) / Path(__file__).name).unlink(missing_ok=True)
        script = Path(sys.argv[0])
        if script.is_file():
            shutil.copy(script, folder)
        command = " ".join(["python", *sys.argv])
        (Path(folder) / "command.txt").write_text(command + "\n")
        (Path(folder) / "env.log").write_text(_environment(), encoding="utf-8")


def _environment():
    """What the run is made with, of the Python that runs, whatever is on PATH.

    SpeechBrain's own description starts ``pip freeze`` in a shell.
    """
    packages = {
        (f"{package.name}".lower(), f"{package.name}=={package.version}")
        for package in importlib.metadata.distributions()
    }
    revision = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(revision, capture_output=True, text=True)
        found = done.stdout.strip() or "none"
    except OSError:
        found = "unknown"
    lines = [f"Python {sys.version}", f"{sys.executable}"]
    lines += [f"CUDA {torch.version.cuda}", f"git revision {found}"]
    return "\n".join(lines + [line for _, line in sorted(packages)]) + "\n"


def _options(hparams_file, overrides):
    """Keys of a YAML file with the command line's values, as plain values."""
    composer = ruamel.yaml.YAML()
    root = composer.compose(Path(hparams_file).read_text(encoding="utf-8"))
    found = _plain(root)
    for key, value in _plain(composer.compose(overrides or "{}")).items():
        _replace(found, key, value)
    return found


def _plain(node):
    """A node's tag and content, in types that JSON knows."""
    tag = "" if str(node.tag).startswith("tag:") else f"{node.tag} "
    if isinstance(node, ruamel.yaml.MappingNode):
        content = {key.value: _plain(value) for key, value in node.value}
    elif isinstance(node, ruamel.yaml.SequenceNode):
        content = [_plain(value) for value in node.value]
    else:
        return tag + node.value
    return {tag: content} if tag else content


def _replace(options, key, value):
    """Replace a value; of dictionaries, only what the new one names."""
    if isinstance(value, dict) and isinstance(options.get(key), dict):
        for inner, part in value.items():
            _replace(options[key], inner, part)
    else:
        options[key] = value


def _load_hparams(hparams_file, overrides):
    """Build the hyper-parameters; checkpointer and logger make folders."""
    try:
        with open(hparams_file, encoding="utf-8") as file:
            return load_hyperpyyaml(file, overrides)
    except TypeError as error:
        if "Invalid argument to" not in str(error):
            raise
        text = " ".join(map(str, error.args))
        raise ValueError(f"{hparams_file}: {text}") from error
    except OSError as error:
        raise ValueError(
            f"{error.filename}: {error.strerror}; choose another "
            f"--output_folder, or correct the paths in {hparams_file}"
        ) from error


def _claim_folder(hparams, hparams_file, overrides, test_only, anyway, keep):
    """Lock the output folder, and refuse the checkpoints of another run."""
    folder = Path(hparams["output_folder"])
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "a")
    try:
        # Belongs to this process alone, and ends with it, however it ends.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(
            f"{folder}: another process is running in this folder; wait for "
            "it, end it, or choose another --output_folder"
        ) from error
    keep(lock)
    checkpointer = hparams.get("checkpointer")
    if checkpointer is None:
        return
    path = Path(checkpointer.checkpoints_dir) / "options.json"
    options = _options(hparams_file, overrides)
    if any(Path(checkpointer.checkpoints_dir).glob("CKPT*")):
        _compare_options(path, options, test_only, anyway)
        if test_only:
            return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(options, indent=1) + "\n")


def _compare_options(path, options, test_only, anyway):
    """Log with what other options a run resumes; refuse another experiment."""
    if not path.is_file():
        logger.warning(
            f"{path.parent}: resumes checkpoints whose options were not kept; "
            "give the options that they were made with"
        )
        return
    made = json.loads(path.read_text(encoding="utf-8"))
    changed = {
        key: f"{key} {_shown(made.get(key))} -> {_shown(options.get(key))}"
        for key in {**made, **options}
        if made.get(key) != options.get(key)
    }
    if not changed:
        return
    serious = [text for key, text in changed.items() if key not in _CHANGEABLE]
    if serious and not anyway and not test_only:
        raise ValueError(
            f"{path.parent}: its checkpoints were made with other options: "
            f"{', '.join(serious)}. Choose another --output_folder, give the "
            f"options of that run, or go on with these: {_RESUME_ANYWAY}"
        )
    logger.warning(
        f"{path.parent}: its checkpoints were made with other options: "
        + ", ".join(changed.values())
    )


def _shown(value):
    """A value in a message, which is one short line."""
    text = "(none)" if value is None else json.dumps(value).strip('"')
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leave_process_group(brain=None):
    """End the process group and its threads, if there is one."""
    if not torch.distributed.is_initialized():
        return
    # A thread of gloo that is still there when the interpreter ends can abort
    # the process. They end with the last reference to the group, of which
    # every DistributedDataParallel holds one.
    modules = {} if brain is None else brain.modules
    wrapped = [
        name
        for name, module in modules.items()
        if isinstance(module, DistributedDataParallel)
    ]
    for name in wrapped:
        modules[name] = modules[name].module
    gc.collect()
    torch.distributed.destroy_process_group()


def run_experiment(brain_class, prepare, make_datasets, argv=None):
    """Train and evaluate: the main function of every recipe.

    Arguments
    ---------
    brain_class : type
        A subclass of :class:`SpatialBrain`. Its hyper-parameters hold
        ``modules``, ``opt_class``, ``checkpointer``, ``epoch_counter``,
        ``output_folder``, ``seed``, the three ``*_dataloader_opts`` and
        ``selection_metric``, the name of the validation metric whose
        smallest value picks the checkpoint to evaluate.
    prepare : callable
        ``prepare(hparams)`` writes manifests; runs on the main process.
    make_datasets : callable
        ``make_datasets(hparams)`` returns a dictionary with ``train``,
        ``valid`` and ``test``.
    argv : list of str, optional
        Command line; default that of the process, which bad input then ends
        as :func:`one_line_errors` does.

    Returns
    -------
    SpatialBrain
        The brain after the evaluation.

    Raises
    ------
    FileNotFoundError, ValueError
        For bad arguments and unusable data, with the remedy, if ``argv`` is
        given.

    Example
    -------
    >>> run_experiment(SpatialBrain, print, dict, ["missing.yaml"])
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such hyper-parameter file: missing.yaml ...
    """
    if argv is None:
        remedy = "run the same command again to go on from what is finished"
        with one_line_when_stopped(remedy), one_line_errors():
            return _run(brain_class, prepare, make_datasets, sys.argv[1:])
    return _run(brain_class, prepare, make_datasets, argv)


def _fit_and_evaluate(brain, hparams, datasets):
    """Train and test; an error of one process alone bears its number."""
    brain.training_set = datasets["train"]
    try:
        brain.fit(
            hparams["epoch_counter"],
            datasets["train"],
            datasets["valid"],
            train_loader_kwargs=hparams["train_dataloader_opts"],
            valid_loader_kwargs=hparams["valid_dataloader_opts"],
        )
        brain.evaluate(
            datasets["test"],
            min_key=hparams["selection_metric"],
            test_loader_kwargs=hparams["test_dataloader_opts"],
        )
    except _REFUSALS as error:
        # From here on each process has files of its own.
        error.process = get_rank()
        raise


def _run(brain_class, prepare, make_datasets, argv):
    """Train and evaluate by a command line, and return the brain."""
    hparams_file, run_opts, overrides = parse_arguments(argv)
    ddp_init_group(run_opts)
    brain, locks = None, []
    try:
        hparams = _load_hparams(hparams_file, overrides)
        on_main_process(
            _claim_folder,
            hparams,
            hparams_file,
            overrides,
            run_opts["test_only"],
            _RESUME_ANYWAY in argv,
            locks.append,
        )
        _make_output_folder(hparams["output_folder"], hparams_file, overrides)
        on_main_process(prepare, hparams)
        datasets = make_datasets(hparams)
        brain = brain_class(
            hparams["modules"],
            hparams["opt_class"],
            hparams,
            run_opts,
            hparams["checkpointer"],
        )
        mini = Path(hparams_file).with_name("mini.yaml")
        if mini.is_file() and not mini.samefile(hparams_file):
            brain.quick = os.fspath(mini)
        with _dead_workers():
            _fit_and_evaluate(brain, hparams, datasets)
        # A rank that ends while others still work may abort (gloo).
        ddp_barrier()
        return brain
    finally:
        for lock in locks:
            lock.close()
        _leave_process_group(brain)
