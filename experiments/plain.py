"""The plain ways that `benchmark.py` measures the product against, each a command of its own.

``python experiments/plain.py sweep FILE [--KNOB VALUE ...]`` runs an experiment file as Ray's own PyTorch example
would: a function trainable for each fold and schedule, a Dataset that opens and decodes its photo every time, float32,
a checkpoint a round, nothing shared. ``frozen`` in the place of ``sweep`` trains the last layer only, and computes what
comes before it anew in every epoch. ``bare`` trains fold 0 in a loop over tensors in memory: no Ray, no photos to
decode, nothing written. Each prints a line of JSON at its end.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from rsrl_ray.config import Experiment, Network, Training
from rsrl_ray.core.arrays import MaskOrWeights
from rsrl_ray.core.folds import make_folds
from rsrl_ray.core.metrics import confusion_matrix, macro_f1
from rsrl_ray.core.selection import TEST
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.method import method_of
from rsrl_ray.photos.decoding import Decoder
from rsrl_ray.photos.known import look
from rsrl_ray.photos.photo_set import load_photos
from rsrl_ray.photos.table import read_table
from rsrl_ray.rounds.loop import Plan, run_rounds
from rsrl_ray.vision.encoders import preprocessing_of
from rsrl_ray.vision.evaluation import EVALUATION_BATCH, Normaliser, autocast
from rsrl_ray.vision.network import build, head_name, load_weights, starting_weights

# Ray is imported where it is needed: the memory of the bare loop is measured.


class Photos(Dataset[tuple[Tensor, int]]):
    """Photos and labels; a photo is opened and decoded whenever it is asked for."""

    def __init__(self, sources: Sequence[str], labels: NDArray[np.int64], network: Network) -> None:
        self._sources, self._labels, size = sources, labels, network.image_size
        colours = transforms.Normalize(preprocessing_of(network).mean, preprocessing_of(network).std)
        self._prepare = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor(), colours])

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self._sources[row]) as picture:
            return self._prepare(picture.convert("RGB")), int(self._labels[row])


class PlainLearner:
    """Trains and judges one network with DataLoaders, in float32; it goes on from its last network."""

    def __init__(self, model: nn.Module, photos: Photos, training: Training, frozen: bool) -> None:
        """``frozen``: only the last layer learns."""
        self.model, self._photos, self._training, self._frozen = model, photos, training, frozen
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not frozen or name.startswith(f"{head_name(model)}.")

    def learn(self, number: int, kept: MaskOrWeights) -> NDArray[np.float32]:
        """Train on the kept photos ([N]); the logits of all photos, [N, C]."""
        chosen = Subset(self._photos, np.flatnonzero(kept).tolist())
        loader = DataLoader(chosen, self._training.batch_size, shuffle=True)
        train_mode(self.model, self._frozen)
        optimizer = sgd(self.model, self._training)
        for _ in range(self._training.epochs):
            for photos, labels in loader:
                optimizer.zero_grad()
                cross_entropy(self.model(photos), labels).backward()
                optimizer.step()
        self.model.eval()
        with torch.no_grad():
            logits = [self.model(photos).numpy() for photos, _ in DataLoader(self._photos, EVALUATION_BATCH)]
        return np.concatenate(logits)

    def features(self) -> None:
        """No rule of the benchmark asks for them."""


def train_mode(model: nn.Module, frozen: bool) -> None:
    """Set the network to training; of a frozen one only the dropout right before the last layer, if there is one."""
    model.train(not frozen)
    if frozen:
        modules = list(model.modules())
        before = modules[modules.index(model.get_submodule(head_name(model))) - 1]
        before.train(isinstance(before, nn.Dropout))


def sgd(model: nn.Module, training: Training, fused: bool = False) -> torch.optim.Optimizer:
    """The recipe's optimizer: the last layer learns ``head_factor`` times as fast."""
    rate, head = training.learning_rate, f"{head_name(model)}."
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for name, parameter in learning.items() if name.startswith(head) is last], "lr": lr}
        for last, lr in ((False, rate), (True, rate * training.head_factor))
    ]
    return torch.optim.SGD(groups, rate, training.momentum, weight_decay=training.weight_decay, fused=fused)


def network(experiment: Experiment, classes: int) -> nn.Module:
    """The network with the weights that the product starts from."""
    model = build(experiment.network, classes)
    load_weights(model, starting_weights(experiment.network, classes, [experiment.seed, 0]).weights)
    return model


def trial(config: dict[str, Any]) -> None:
    """One fold and method as a function trainable: after each round the test photos' macro F and a checkpoint."""
    from ray import tune

    experiment: Experiment = config["experiment"]
    torch.set_num_threads(experiment.training.threads)
    table, _ = look(read_table(experiment.photos))
    classes, labels = np.unique(table.scores, return_inverse=True)
    fold = make_folds(labels, experiment.draw())[config["fold"]]
    photos = Photos(table.sources, labels, experiment.network)
    learner = PlainLearner(network(experiment, len(classes)), photos, experiment.training, config["frozen"])
    rule = method_of(experiment, config["method"]).rule
    for done in run_rounds(learner, labels, fold, rule, Plan.of(experiment)):
        predicted = done.logits.argmax(axis=1)
        score = macro_f1(confusion_matrix(labels[fold.test], predicted[fold.test], len(classes)))
        with tempfile.TemporaryDirectory() as folder:
            torch.save(learner.model.state_dict(), Path(folder, "model.pt"))
            tune.report({TEST: score}, checkpoint=tune.Checkpoint.from_directory(folder))


def sweep(experiment: Experiment, frozen: bool) -> dict[str, float]:
    """Run all trials; the mean over them and their rounds of the test photos' macro F."""
    from ray import tune

    space = {
        "experiment": experiment,
        "frozen": frozen,
        "fold": tune.grid_search(experiment.fold_numbers()),
        "method": tune.grid_search(list(experiment.schedules)),
    }
    trainable = tune.with_resources(trial, {"cpu": experiment.resources.cpus})
    run = tune.RunConfig(name="plain", storage_path=experiment.storage, verbose=0)
    results = tune.Tuner(trainable, param_space=space, run_config=run).fit()
    assert not results.errors, results.errors
    tables = [table for place in range(len(results)) if (table := results[place].metrics_dataframe) is not None]
    return {TEST: float(pd.concat(tables)[TEST].mean())}


def bare(experiment: Experiment) -> dict[str, list[float]]:
    """Train and judge fold 0 without dropping photos, on normalised float32 tensors; seconds of every round.

    As fast as it goes with the product's batches and precision: channels last, a fused optimizer, no switches for
    equal bits.
    """
    photos = load_photos(experiment.photos, Decoder(experiment.network.image_size), Path(experiment.storage, "photos"))
    pixels, labels, device = photos.pixels(), torch.from_numpy(photos.labels), torch.device("cpu")
    colours = preprocessing_of(experiment.network)
    pictures = torch.empty(pixels.shape)  # [N, S, S, 3]: seen as [N, 3, S, S] its channels are last
    for rows in torch.arange(len(labels)).split(EVALUATION_BATCH):
        pictures[rows] = Normaliser(device, colours)(torch.from_numpy(pixels[rows.numpy()])).permute(0, 2, 3, 1)
    del pixels
    train = torch.from_numpy(make_folds(photos.labels, experiment.draw())[0].train)
    model = network(experiment, len(photos.classes)).to(memory_format=torch.channels_last)
    torch.set_num_threads(experiment.training.threads)
    seconds = []
    for _ in range(experiment.rounds):
        began = time.perf_counter()
        bare_round(model, pictures.permute(0, 3, 1, 2), labels, train, experiment.training)
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds}


def bare_round(model: nn.Module, pictures: Tensor, labels: Tensor, train: Tensor, training: Training) -> None:
    """Train on the rows ``train`` of the pictures [N, 3, S, S], then judge all of them."""
    optimizer, mixed = sgd(model.train(), training, fused=True), autocast(pictures.device, training.precision)
    for _ in range(training.epochs):
        for rows in train[torch.randperm(len(train))].split(training.batch_size):
            with mixed:
                loss = cross_entropy(model(pictures[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.inference_mode(), mixed:
        for part in pictures.split(EVALUATION_BATCH):
            model(part)


def main(way: str, file: str, *knobs: str) -> None:
    """Run one way on an experiment file, with knobs from the command line over it."""
    experiment = read_experiment(file, knobs)
    print(json.dumps(bare(experiment) if way == "bare" else sweep(experiment, frozen=way == "frozen")))


if __name__ == "__main__":
    main(*sys.argv[1:])
