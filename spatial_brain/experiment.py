"""What every recipe does the same way and no experiment wants to change.

``run_experiment`` parses the command line, starts distributed training,
makes the experiment folder, prepares the data on one process, trains and
evaluates. ``SpatialBrain`` is a SpeechBrain ``Brain`` with the guards that
all recipes need. Neither knows a task.
"""

import gc
import os
import shutil
import sys
from pathlib import Path

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
from torch.nn.parallel import DistributedDataParallel

logger = get_logger(__name__)

LEGACY_FLAGS = ("--distributed_launch", "--local-rank", "--local_rank")


class SpatialBrain(sb.Brain):
    """A ``Brain`` that is safe to kill, to resume, to spread and to test.

    * Batch normalisation works with several CPU processes.
    * Random numbers of a training step depend on seed, rank and step alone:
      ranks differ, and a resumed run continues as the unbroken one would.
    * Gradients of all parameter groups are clipped together;
      ``max_grad_norm: 0`` switches clipping off.
    * A data set with ``set_epoch`` is told the epoch.
    * The learning rate follows ``learning_rate_schedule``, a function of the
      epochs done (see :mod:`spatial_brain.nnet.schedules`), at every step.
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

    def on_fit_batch_start(self, batch, should_step):
        """Seed the generators of this step and set its learning rate.

        Arguments
        ---------
        batch : Any
            The batch; not used.
        should_step : bool
            Whether the optimiser steps on this batch; not used.
        """
        rank = get_rank() or 0
        words = (self.hparams.seed, rank, self.optimizer_step, self.step)
        torch.manual_seed(_mix(words))
        schedule = self.hparams.learning_rate_schedule
        if schedule is not None:
            rate = schedule(self.epoch - 1 + (self.step - 1) / self.num_steps)
            for optimizer in self.optimizers_dict.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate

    def optimizers_step(self):
        """Clip the gradients of all groups, then step every optimiser."""
        optimizers = self.freeze_optimizers(self.optimizers_dict or {})
        for optimizer in optimizers.values():
            self.scaler.unscale_(optimizer)
        if self.max_grad_norm > 0:
            parameters = [
                parameter
                for optimizer in optimizers.values()
                for group in optimizer.param_groups
                for parameter in group["params"]
            ]
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        if self.skip_nonfinite_grads and not self.scaler.is_enabled():
            self.check_gradients()
        for optimizer in optimizers.values():
            self.scaler.step(optimizer)
        self.scaler.update()
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1

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
        If an old launch flag is given and no launcher started the process.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> _ = path.write_text("seed: 1")
    >>> parse_arguments([str(path), "--seed", "3"])[2]
    'seed: 3'
    >>> parse_arguments([str(path), "--distributed_launch"])
    Traceback (most recent call last):
    ...
    ValueError: --distributed_launch alone starts nothing. Type: torchrun ...
    """
    kept = [arg for arg in argv if arg.split("=")[0] not in LEGACY_FLAGS]
    if len(kept) < len(argv) and "RANK" not in os.environ:
        raise ValueError(
            "--distributed_launch alone starts nothing. Type: torchrun "
            f"--standalone --nproc_per_node=<GPUs> {sys.argv[0]} "
            + " ".join(kept)
        )
    if kept and not kept[0].startswith("-") and not Path(kept[0]).is_file():
        raise FileNotFoundError(
            f"no such hyper-parameter file: {kept[0]} "
            f"(looked for from {Path.cwd()})"
        )
    return sb.parse_arguments(kept)


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
        box = [result, None if error is None else f"{error}"]
        torch.distributed.broadcast_object_list(box, src=0)
        result = box[0]
        if box[1] is not None and error is None:
            raise RuntimeError(f"the main process failed: {box[1]}")
    if error is not None:
        raise error
    return result


def make_output_folder(hparams_file, overrides, hparams):
    """Make the experiment folder and note what the run consists of.

    Writes ``hyperparams.yaml`` (references resolved), a copy of the script,
    ``env.log`` and ``command.txt``, and sends logs to ``log.txt``.

    Arguments
    ---------
    hparams_file : str
        Path of the YAML file.
    overrides : str
        YAML text of the command line's overrides.
    hparams : dict
        Loaded hyper-parameters; ``output_folder`` is used.
    """
    folder = hparams["output_folder"]
    sb.create_experiment_directory(folder, hparams_file, overrides)
    if if_main_process():
        # SpeechBrain copies the file of its caller, which is this module.
        (Path(folder) / Path(__file__).name).unlink(missing_ok=True)
        script = Path(sys.argv[0])
        if script.is_file():
            shutil.copy(script, folder)
        command = " ".join(["python", *sys.argv])
        (Path(folder) / "command.txt").write_text(command + "\n")


def leave_process_group(brain=None):
    """End the process group and its threads, if there is one.

    A thread of gloo that is still there when the interpreter ends can abort
    the process. They end with the last reference to the group, of which
    every ``DistributedDataParallel`` holds one.

    Arguments
    ---------
    brain : SpatialBrain, optional
        Its modules are unwrapped.

    Example
    -------
    >>> leave_process_group()
    """
    if not torch.distributed.is_initialized():
        return
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
        Command line; default that of the process.

    Returns
    -------
    SpatialBrain
        The brain after the evaluation.

    Raises
    ------
    FileNotFoundError, ValueError
        For bad arguments and unusable data, with the remedy.

    Example
    -------
    >>> run_experiment(SpatialBrain, print, dict, ["missing.yaml"])
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such hyper-parameter file: missing.yaml ...
    """
    arguments = sys.argv[1:] if argv is None else argv
    hparams_file, run_opts, overrides = parse_arguments(arguments)
    ddp_init_group(run_opts)
    brain = None
    try:
        with open(hparams_file, encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides)
        make_output_folder(hparams_file, overrides, hparams)
        on_main_process(prepare, hparams)
        datasets = make_datasets(hparams)
        brain = brain_class(
            hparams["modules"],
            hparams["opt_class"],
            hparams,
            run_opts,
            hparams["checkpointer"],
        )
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
        # A rank that ends while others still work may abort (gloo).
        ddp_barrier()
        return brain
    finally:
        leave_process_group(brain)
