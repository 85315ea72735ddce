"""The file that `rsrl init` writes, for many tables and two machines: it is read by the reader of experiment files."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsrl_ray.config import Experiment, Network, Training
from rsrl_ray.core.folds import make_folds
from rsrl_ray.core.revision import majority_classes
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.experiment_file import plain_name, read_experiment
from rsrl_ray.forecast import FROZEN_ALEXNET, Machine, Scores, about, amount_of, duration, seconds_of
from rsrl_ray.method import drops_photos, methods_of
from rsrl_ray.template import compose
from rsrl_ray.vision.proposal import LITE0
from rsrl_ray.vision.speed import Speed, TrainsOn

OLD_CPU, NEW_CPU = (TrainsOn("a CPU", 0, bf16) for bf16 in (False, True))
FAST, SLOW = Speed(training=2e-5, judging=1e-5, frozen=0.02), Speed(training=0.01, judging=0.004, frozen=0.0)
CPU = Machine(OLD_CPU, cores=2, speed=FAST, whole=SLOW, photo_s=0.002, network=FROZEN_ALEXNET)
GPU = Machine(TrainsOn("a GPU", 1, True), cores=16, speed=Speed(0.001, 0.0005, 0.0), whole=None, photo_s=0.002)

PAPER = {2: 93, 3: 697, 4: 1488, 5: 512, 6: 186, 7: 113, 8: 9, 9: 2}
TABLES = {  # photos of each score; folds, repeats and majority classes that fit them
    "the paper's": (PAPER, (2, 3), [4, 3, 5]),
    "two scores": ({0: 300, 1: 20}, (5, 1), [0]),
    "two scores alike": ({0: 30, 1: 30}, (5, 1), [0]),
    "nine scores": (dict(zip(range(1, 10), (3, 20, 60, 200, 300, 180, 70, 25, 4), strict=True)), (3, 2), [5, 4, 6]),
    "four of a score": ({-1: 4, 0: 50, 1: 9}, (4, 2), [0]),
    "25 photos": ({1: 2, 2: 15, 3: 8}, (2, 3), [2]),
    "12 photos": ({0: 6, 1: 6}, (5, 1), [0]),
    "four kinds of solar cells": ({0: 1508, 1: 295, 2: 106, 3: 715}, (5, 1), [0, 3]),
}


def written(folder: Path, sizes: dict[int, int], machine: Machine = CPU) -> Experiment:
    file = folder / "mine.yaml"
    file.write_text(compose(folder / "my photos" / "all.csv", file, Scores(sizes), machine, ["rsrl check all.csv"]))
    return read_experiment(file)


@pytest.mark.parametrize("name", TABLES)
def test_folds_and_majority_classes_fit_the_scores(name: str, tmp_path: Path) -> None:
    sizes, (count, repeats), majority = TABLES[name]
    experiment = written(tmp_path, sizes)
    folds = experiment.folds
    assert (folds.count, folds.repeats) == (count, repeats)
    assert experiment.revision.majority_classes == len(majority)
    labels = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    assert [list(sizes)[label] for label in majority_classes(labels, len(majority))] == majority
    dealt = make_folds(labels, experiment.draw())
    assert len(dealt) >= 5
    assert experiment.folds.validation == (0.2 if sum(sizes.values()) == 12 else 0.1)
    for fold in dealt:  # each score can be learnt and is tested on
        assert set(labels[fold.test]) == set(labels[fold.train]) == set(labels)


def test_what_is_written_is_what_it_says(tmp_path: Path) -> None:
    experiment = written(tmp_path, PAPER)
    assert (experiment.name, experiment.photos) == ("mine", str(tmp_path / "my photos" / "all.csv"))
    assert experiment.storage == str(tmp_path / "results")
    assert list(methods_of(experiment)) == ["none", "paper", "as_many_at_random", "balanced_adjusted", "ridge"]
    ridge = methods_of(experiment)["ridge"]
    assert (ridge.learning.ridge, ridge.prediction.decision) == (Ridge(), "shares")
    assert [name for name in experiment.method_names() if drops_photos(experiment, name)] == [
        "paper",
        "as_many_at_random",
    ]
    assert experiment.rounds == 20
    text = (tmp_path / "mine.yaml").read_text()
    assert (
        "# photos    3,100, with the scores 2 (93), 3 (697), 4 (1,488), 5 (512), 6 (186), 7 (113), 8 (9), 9 (2)\n"
        in text
    )
    assert "# command   rsrl check all.csv\n" in text
    assert "The rarest score, 9, has 2 photos" in text and "those with more photos than the average: 4, 3, 5." in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_cpu_trains_the_last_layer_and_a_gpu_all(tmp_path: Path) -> None:
    cpu = written(tmp_path, PAPER)
    assert (cpu.network.backbone, cpu.network.image_size, cpu.network.weights) == ("alexnet", 224, "imagenet")
    assert (cpu.training.trainable, cpu.training.precision, cpu.resources.gpus) == ("head", "fp32", 0)
    assert (cpu.resources.cpus, cpu.training.threads) == (1, 1)
    training = cpu.training
    assert (training.learning_rate, training.head_factor, training.weight_decay) == (0.001, 1, 0.3)
    assert (training.steps, cpu.network.standardise) == ("weighted", True)
    newer = written(tmp_path, PAPER, Machine(NEW_CPU, 2, FAST, SLOW, 0.002))
    assert newer.training.precision == "bf16"
    gpu = written(tmp_path, PAPER, GPU)
    assert (gpu.network.backbone, gpu.network.image_size) == ("alexnet", 224)
    assert (gpu.training.trainable, gpu.training.precision, gpu.resources.gpus) == ("all", "bf16", "auto")
    assert gpu.training == replace(Training(), steps="all")
    assert not gpu.network.standardise and "ridge" not in gpu.methods


def test_a_network_that_is_there_is_named_with_where_it_comes_from(tmp_path: Path) -> None:
    lite0 = written(tmp_path, PAPER, replace(CPU, network=LITE0))
    assert lite0.network == LITE0
    assert "# imagenet: timm downloads 19 MB once; without internet" in (tmp_path / "mine.yaml").read_text()
    file = Network("squeezenet1_1", str(tmp_path / "weights" / "squeezenet1_1: mine.pth"), 224, "linear", True)
    assert written(tmp_path, PAPER, replace(CPU, network=file)).network == file
    assert 'weights: "weights/squeezenet1_1: mine.pth"' in (tmp_path / "mine.yaml").read_text()


def test_the_lines_that_train_every_layer(tmp_path: Path) -> None:
    written(tmp_path, PAPER)
    text = (tmp_path / "mine.yaml").read_text()
    for line in re.findall(r"^#   (\S.*)$", text, re.MULTILINE):
        text, count = re.subn(rf"^( *){line.partition(':')[0]}: .*$", rf"\1{line}", text, flags=re.MULTILINE)
        assert count == 1
    assert "take out the method ridge" in text.replace("\n# ", " ")
    text, count = re.subn("^  ridge: .*$", "", text, flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "all.yaml").write_text(text)
    whole = read_experiment(tmp_path / "all.yaml")
    assert methods_of(whole).keys() == {"none", "paper", "as_many_at_random", "balanced_adjusted"}
    assert (whole.name, whole.training) == ("mine-all", Training(precision="fp32", steps="all"))
    assert (whole.network.backbone, whole.network.image_size) == ("squeezenet1_1", 128)
    assert "squeezenet" not in compose(Path("a.csv"), Path("a.yaml"), Scores(PAPER), GPU, [])


def test_hours_are_reckoned_from_what_was_measured(tmp_path: Path) -> None:
    even = {1: 500, 2: 500}
    # 5 folds x (4 x 20 - 2 + 1) rounds, two at a time; of 5 x 720 photos trained on and 1,000 judged
    round_s = 5 * 720 * 2e-5 + 1000 * 1e-5 + 0.1
    seconds = 20 + 1000 * 0.002 / 2 + 1000 * 0.02 / 2 + 198 * round_s
    assert seconds == pytest.approx(67.0, abs=0.1)
    assert duration(Scores(even), CPU) == "about 1 minute"
    written(tmp_path, even)
    text = " ".join((tmp_path / "mine.yaml").read_text().replace("\n#", " ").split())
    assert (
        "hours about 1 minute: 5 folds x 5 methods x 20 rounds, 395 of them different, 0.2 s each, 2 at a time." in text
    )
    # 195 x (5 x 720 x .01 + 1,000 x .004 + .1) = 7,820 s
    assert "with highlight maps, takes about 2.2 hours: copy this file" in text
    many = replace(CPU, cores=64)  # the methods of a fold train in one process, so 5 at most
    assert seconds_of(Scores(even), many, FAST, amount_of(Scores(even), many)) == pytest.approx(
        20 + 1000 * 0.022 / 64 + 79 * round_s
    )
    assert duration(Scores(even), GPU) == about(20 + 1000 * 0.002 / 16 + 390 * (3.6 + 0.5 + 0.1)) == "about 28 minutes"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "about 1 minute"),
        (100, "about 2 minutes"),
        (5000, "about 83 minutes"),
        (5400, "about 1.5 hours"),
        (40_000, "about 11 hours"),
        (7_200_000, "about 2,000 hours"),
    ],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("photos.csv", "photos"),
        ("data/AVA.txt", "AVA"),
        ("holiday 2024/", "holiday-2024"),
        ("../x/Fotos (1).parquet", "Fotos-1"),
        ("2024", "2024"),
        ("写真.csv", "photos"),
    ],
)
def test_a_name_after_the_photos(path: str, name: str, tmp_path: Path) -> None:
    assert plain_name(Path(path).stem) == name
    file = tmp_path / f"{name}.yaml"
    file.write_text(compose(tmp_path / path, file, Scores({1: 5, 2: 9}), CPU, []))
    experiment = read_experiment(file)
    assert experiment.name == name
    assert Path(experiment.photos) == (tmp_path / path).resolve()
