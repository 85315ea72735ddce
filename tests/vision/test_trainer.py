import gc
import os
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.nn.functional import cross_entropy

from rsrl_ray import config
from rsrl_ray.identity import ARITHMETIC
from rsrl_ray.vision import on_device as on_device_module
from rsrl_ray.vision import trainer as module
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.features import FeatureMaker
from rsrl_ray.vision.inputs import DeviceRows, PinnedRows, batches, windows
from rsrl_ray.vision.lesson import Lesson, NotFinite
from rsrl_ray.vision.memory import OutOfMemory
from rsrl_ray.vision.network import build, load_weights, new_head, starting_weights
from rsrl_ray.vision.on_device import NetworkOnDevice, Place
from rsrl_ray.vision.reproducible import reproducible
from rsrl_ray.vision.trainer import NetworkTrainer

SIZE = 32
COUNT = 70  # more than one evaluation batch, and a part of one


def stripes(count: Any, size: Any, seed: int = 0) -> Any:
    """Noisy photos of horizontal (0), vertical (1) and diagonal (2) stripes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, count)
    y, x = np.mgrid[:size, :size]
    waves = 60 * np.sin(0.8 * np.stack([y, x, x + y])[labels] + draw.uniform(0, 2 * np.pi, (count, 1, 1)))
    photos = 127 + waves[..., None] + draw.normal(0, 30, (count, size, size, 3))
    return photos.clip(0, 255).astype(np.uint8), labels


def small(size: Any = SIZE) -> Any:
    return config.Network(backbone="small", weights="none", image_size=size)


PHOTOS, LABELS = stripes(COUNT, SIZE)
START = starting_weights(small(), 3, [0]).weights
PINNED = [
    [0.026112, -0.027298, -0.096355],
    [1.175030, -0.844088, -0.716910],
    [0.855789, -0.673858, -0.455434],
]
EVEN = np.arange(COUNT) % 2 == 0


def learner(
    training: Any = None,
    warm_start: str = "all",
    photos: Any = PHOTOS,
    seed: int = 0,
    fold: int = 0,
    network: Any = None,
    start: Any = START,
) -> Any:
    training = training or config.Training(epochs=1)
    return NetworkTrainer(
        Lesson(LABELS, start, np.arange(len(LABELS)), seed, fold, warm_start),
        on_device(network or small(), training, photos),
    )


def on_device(network: Any, training: Any, photos: Any, device: str = "cpu") -> Any:
    return NetworkOnDevice(network, training, 3, lambda: photos, Place(device))


def same(one: Any, other: Any) -> Any:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def differ(one: Any, other: Any) -> Any:
    return all(not np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "seed"), [("bf16", 0), ("fp32", 1), ("fp32", 2)])
def test_small_learns_from_few_photos(precision: str, seed: int) -> None:
    photos, labels = stripes(300, 64)
    start = starting_weights(small(64), 3, [seed]).weights
    training = config.Training(epochs=5, precision=precision)
    trained = NetworkTrainer(Lesson(labels[:240], start, np.arange(240)), on_device(small(64), training, photos[:240]))
    weights = trained.fit(start, np.ones(240, dtype=bool), 1)
    judge = NetworkTrainer(Lesson(labels[240:], start, np.arange(60)), on_device(small(64), training, photos[240:]))
    assert (judge.logits(weights).argmax(1) == labels[240:]).mean() > 0.9
    assert (judge.logits(start).argmax(1) == labels[240:]).mean() < 0.6


def test_a_round_is_a_pure_function() -> None:
    one = learner(config.Training(epochs=2, augmentation=["crop", "flip"]))
    first = one.fit(START, EVEN, 4)
    logits = one.logits(first)
    second = one.fit(first, ~EVEN, 5)
    assert differ(first, START)
    assert differ(second, first)
    torch.manual_seed(123)
    assert same(one.fit(START, EVEN, 4), first)
    assert_array_equal(one.logits(first), logits)
    fresh = learner(config.Training(epochs=2, augmentation=["crop", "flip"]))
    assert same(fresh.fit(first, ~EVEN, 5), second)
    assert_array_equal(fresh.logits(first), logits)


def test_what_goes_in_is_left_alone_and_what_comes_out_is_new() -> None:
    one = learner()
    parent = {name: array.copy() for name, array in START.items()}
    for array in parent.values():
        array.flags.writeable = False  # as an archive may hand them out
    weights = one.fit(parent, EVEN, 1)
    kept = {name: array.copy() for name, array in weights.items()}
    one.fit(weights, EVEN, 2)
    assert same(weights, kept)
    assert same(parent, START)
    assert all(array.dtype == np.float32 and array.flags.owndata for array in weights.values())


@pytest.mark.parametrize("what", ["number", "fold", "seed", "photos", "precision", "augmentation", "epochs"])
def test_what_a_round_depends_on(what: str) -> None:
    base = learner().fit(START, EVEN, 1)
    other = {
        "number": lambda: learner().fit(START, EVEN, 2),
        "fold": lambda: learner(fold=1).fit(START, EVEN, 1),
        "seed": lambda: learner(seed=1).fit(START, EVEN, 1),
        "photos": lambda: learner().fit(START, ~EVEN, 1),
        "precision": lambda: learner(config.Training(epochs=1, precision="fp32")).fit(START, EVEN, 1),
        "augmentation": lambda: learner(config.Training(epochs=1, augmentation=["flip"])).fit(START, EVEN, 1),
        "epochs": lambda: learner(config.Training(epochs=2)).fit(START, EVEN, 1),
    }[what]()
    assert differ(base, other)


@pytest.mark.parametrize("steps", ["kept", "all"])
def test_a_round_before_it_is_balanced_has_the_bits_of_a_shuffled_one(steps: Any) -> None:
    network = on_device(small(), config.Training(epochs=1, steps=steps), PHOTOS)
    ways: list[dict[str, Any]] = [
        {},
        {"sampling": "class_balanced"},
        {"sampling": "class_balanced", "balanced_from": 2},
    ]
    trainers = [NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS)), **way), network) for way in ways]
    (shuffled, balanced, late), (again, all_balanced, now) = (
        [trainer.fit(START, EVEN, number) for trainer in trainers] for number in (1, 2)
    )
    assert same(late, shuffled) and same(now, all_balanced)
    assert not same(late, balanced) and not same(now, again)


def test_photos_that_were_dropped_do_not_matter() -> None:
    photos = PHOTOS.copy()
    photos[~EVEN] = 0
    assert same(learner(photos=photos).fit(START, EVEN, 1), learner().fit(START, EVEN, 1))


def test_photos_may_lie_in_a_read_only_file(tmp_path: Path) -> None:
    np.save(tmp_path / "photos.npy", PHOTOS)
    mapped = np.load(tmp_path / "photos.npy", mmap_mode="r")
    one = learner(photos=mapped)
    weights = one.fit(START, EVEN, 1)
    assert same(weights, learner().fit(START, EVEN, 1))
    assert_array_equal(one.logits(weights), learner().logits(weights))


STILL = config.Training(epochs=1, learning_rate=1e-60)  # steps so small that float32 weights do not change


def test_warm_start_all_goes_on_from_the_parent() -> None:
    parent = starting_weights(small(), 3, [9]).weights
    assert same(learner(STILL).fit(parent, EVEN, 2), parent)


@pytest.mark.parametrize("warm_start", ["head", "cold"])
def test_warm_starts_that_draw_the_head_anew(warm_start: str) -> None:
    parent = starting_weights(small(), 3, [9]).weights
    one = learner(STILL, warm_start)
    second, third = one.fit(parent, EVEN, 2), one.fit(parent, EVEN, 3)
    body = parent if warm_start == "head" else START
    head = {"classifier.6.weight", "classifier.6.bias"}
    for name in START:
        if name in head:
            assert not np.array_equal(second[name], parent[name])
            assert not np.array_equal(second[name], START[name])
            assert not np.array_equal(second[name], third[name])
        else:
            assert_array_equal(second[name], body[name])
    assert same({name: second[name] for name in head}, new_head(build(small(), 3), [0, 0, 2, 4]))


def test_cold_ignores_the_parent() -> None:
    parent = starting_weights(small(), 3, [9]).weights
    one = learner(warm_start="cold")
    assert same(one.fit(parent, EVEN, 2), one.fit(START, EVEN, 2))


def test_the_head_learns_faster_by_its_factor() -> None:
    head = "classifier.6.weight"

    def step(factor: Any) -> Any:
        training = config.Training(epochs=1, batch_size=COUNT, head_factor=factor, precision="fp32", weight_decay=0)
        weights = learner(training).fit(START, EVEN, 1)
        return {name: weights[name] - START[name] for name in weights}

    slow, fast = step(1.0), step(8.0)
    np.testing.assert_allclose(fast[head], 8 * slow[head], rtol=0, atol=1e-7)
    assert_array_equal(fast["features.0.weight"], slow["features.0.weight"])
    assert np.abs(slow[head]).max() > 1e-5


def test_two_steps_are_sgd_on_the_normalised_photos() -> None:
    # a batch of all photos has only one order; without batch normalisation, which enlarges last digits a thousandfold
    training = config.Training(epochs=2, batch_size=100, learning_rate=0.01, head_factor=2, precision="fp32")
    one, model = learner(training), build(small(), 3).train()
    for layer in [*one.network.model.modules(), *model.modules()]:
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    weights = one.fit(START, EVEN, 1)

    load_weights(model, START)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    photos = ((torch.from_numpy(PHOTOS[EVEN]) / 255 - mean) / std).permute(0, 3, 1, 2)
    velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    with reproducible(1):
        for _ in range(2):
            model.zero_grad()
            cross_entropy(model(photos), torch.from_numpy(LABELS[EVEN])).backward()
            with torch.no_grad():
                for name, p in model.named_parameters():
                    velocity[name] = 0.9 * velocity[name] + p.grad + 1e-4 * p
                    p -= 0.01 * (2 if name.startswith("classifier.6.") else 1) * velocity[name]
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(weights[name], tensor.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_logits_are_the_networks_own_in_evaluation_mode() -> None:
    one = learner(config.Training(precision="fp32", batch_size=7))
    logits = one.logits(START)
    model = build(small(), 3).eval()
    load_weights(model, START)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        wanted = model(((torch.from_numpy(PHOTOS) / 255 - mean) / std).permute(0, 3, 1, 2))
    assert (logits.shape, logits.dtype) == ((COUNT, 3), np.float32)
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-4)
    # they do not depend on batch size, augmentation and seeds of training
    changed = config.Training(precision="fp32", batch_size=50, augmentation=["crop", "flip"])
    assert_array_equal(learner(changed, seed=5, fold=2).logits(START), logits)


def test_bfloat16_logits_are_near_and_not_rounded() -> None:
    exact = learner(config.Training(precision="fp32")).logits(START)
    logits = learner(config.Training(precision="bf16")).logits(START)
    np.testing.assert_allclose(logits, exact, atol=0.05)
    assert not np.array_equal(logits, exact)
    assert not np.array_equal(logits, torch.from_numpy(logits).bfloat16().float().numpy())


def test_batches() -> None:
    def cut(count: Any, size: Any) -> Any:
        return [batch.tolist() for batch in batches(np.arange(count), size)]

    assert cut(10, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert cut(9, 4) == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]  # no batch of one
    assert cut(8, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cut(5, 4) == [[0, 1, 2, 3, 4]]
    assert cut(1, 4) == [[0]]
    assert cut(3, 1) == [[0], [1], [2]]


def test_batch_normalisation_never_sees_a_batch_of_one() -> None:
    network = config.Network(backbone="mobilenet_v3_small", weights="none", image_size=SIZE)
    start = starting_weights(network, 3, [1]).weights
    nine = np.arange(COUNT) < 9
    one = learner(config.Training(epochs=1, batch_size=4), network=network, start=start)
    assert one.fit(start, nine, 1)["features.0.1.num_batches_tracked"] == 2
    with pytest.raises(ValueError, match=re.escape("training.batch_size: 1 is too few for mobilenet_v3_small")):
        learner(config.Training(batch_size=1), network=network, start=start).fit(start, nine, 1)
    learner(config.Training(epochs=1, batch_size=1)).fit(START, nine, 1)  # AlexNet's layout has no batch normalisation


def test_flip_mirrors_about_half_of_the_photos() -> None:
    photos = PHOTOS[:, :4, :4]
    y, x = windows(COUNT, 4, ["flip"], torch.Generator().manual_seed(0))
    flipped = x[:, 0] == 3
    assert 20 < flipped.sum() < 50
    assert x[flipped].unique(dim=0).tolist() == [[3, 2, 1, 0]]
    assert x[~flipped].unique(dim=0).tolist() == [[0, 1, 2, 3]]
    assert y.unique(dim=0).tolist() == [[0, 1, 2, 3]]
    taken = photos[np.arange(COUNT)[:, None, None], y[:, :, None], x[:, None, :]]
    assert_array_equal(taken, np.where(flipped.numpy()[:, None, None, None], photos[:, :, ::-1], photos))


def test_crop_is_a_window_of_the_photo_padded_by_reflection() -> None:
    y, x = windows(COUNT, SIZE, ["crop"], torch.Generator().manual_seed(0))
    taken = PHOTOS[np.arange(COUNT)[:, None, None], y[:, :, None], x[:, None, :]]
    reach = SIZE // 8
    corners = set()
    for photo, window in zip(PHOTOS, taken, strict=True):
        padded = np.pad(photo, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        offsets = [(i, j) for i in range(2 * reach + 1) for j in range(2 * reach + 1)]
        [corner] = [o for o in offsets if np.array_equal(padded[o[0] :, o[1] :][:SIZE, :SIZE], window)]
        corners.add(corner)
    assert {i for i, _ in corners} == {j for _, j in corners} == set(range(9))
    assert len(corners) > 40  # rows and columns are drawn independently


def test_no_augmentation_takes_the_photo_as_it_is() -> None:
    y, x = windows(2, 3, [], torch.Generator())
    assert y.tolist() == x.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_augmentation_reaches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # photos that are their own mirror image train the same with and without flip
    photos = np.concatenate([PHOTOS[:, :, :16], PHOTOS[:, :, 15::-1]], axis=2)
    flip = config.Training(epochs=1, augmentation=["flip"])
    crop = config.Training(epochs=1, augmentation=["crop"])
    plain = learner(photos=photos).fit(START, EVEN, 1)
    assert same(learner(flip, photos=photos).fit(START, EVEN, 1), plain)
    assert differ(learner(crop, photos=photos).fit(START, EVEN, 1), plain)


def test_a_loss_that_is_not_finite_ends_the_round_and_not_the_learner() -> None:
    wild = learner(config.Training(epochs=3, learning_rate=1e4, head_factor=20))
    with pytest.raises(NotFinite, match=r"^round 7: the loss is not finite") as caught:
        wild.fit(START, EVEN, 7)
    assert "(learning rate 10000, head 200000)" in str(caught.value)
    assert str(caught.value).endswith("try training.learning_rate 1000 or training.precision fp32")
    weights = starting_weights(small(), 3, [4]).weights
    assert_array_equal(wild.logits(weights), learner().logits(weights))


def test_a_last_step_that_diverges_is_seen_in_the_weights() -> None:
    training = config.Training(epochs=1, batch_size=COUNT, learning_rate=1e38, head_factor=1e3, precision="fp32")
    with pytest.raises(NotFinite, match=r"^round 1: a weight is not finite") as caught:
        learner(training).fit(START, EVEN, 1)
    assert str(caught.value).endswith("try training.learning_rate 1e+37")


def test_logits_that_are_not_finite() -> None:
    weights = START | {"classifier.6.bias": np.full(3, np.inf, dtype=np.float32)}
    with pytest.raises(NotFinite, match=r"^a logit is not finite \(learning rate 0.001, head 0.01\)"):
        learner().logits(weights)


def test_version_1_of_the_arithmetic() -> None:
    """If you change what is computed, count `ARITHMETIC` up, because old rounds are then not the new ones."""
    assert (ARITHMETIC, EVALUATION_BATCH) == (1, 64)
    photos, labels = stripes(40, SIZE, seed=3)
    training = config.Training(epochs=10, batch_size=8, precision="fp32", augmentation=["flip", "crop"])
    one = NetworkTrainer(
        Lesson(labels, START, np.arange(len(labels)), seed=1, fold=2), on_device(small(), training, photos)
    )
    logits = one.logits(one.fit(START, np.arange(40) < 30, 1))
    np.testing.assert_allclose(logits[[0, 1, 39]], PINNED, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried ...\nGPU 0 has"), "CUDA out of memory. Tried ..."),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "CUDA error: CUBLAS",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cu"), "CUDA error: CUBLAS"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "cuDNN error: CUDNN"),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might"), "CUDA error: out of memory"),
    ],
)
@pytest.mark.parametrize("where", ["cross_entropy", "evaluate", "build"])
def test_a_full_gpu_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, error: Any, said: str, where: str) -> None:
    def full(*arguments: Any) -> None:
        raise error

    places = {"cross_entropy": torch.nn.functional, "evaluate": module, "build": on_device_module.networks}
    monkeypatch.setattr(places[where], where, full)
    with pytest.raises(OutOfMemory, match="^" + re.escape(said)) as caught:
        learner().logits(START) if where == "evaluate" else learner().fit(START, EVEN, 1)
    assert "\n" not in str(caught.value)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it as a GPU that refuses memory would, of which PyTorch keeps count."""
    stats = {"num_ooms": 3}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: stats)
    return lambda: stats.update(num_ooms=stats["num_ooms"] + 1)


@pytest.mark.parametrize("where", ["cross_entropy", "evaluate"])
def test_a_round_for_which_the_gpu_refused_memory_is_none_though_it_came_to_its_end(
    monkeypatch: pytest.MonkeyPatch, refuse: Any, where: str
) -> None:
    """cuDNN takes another engine then, with other bits."""
    place = torch.nn.functional if where == "cross_entropy" else module
    inner, refused = getattr(place, where), []

    def refused_once(*arguments: Any) -> Any:
        if not refused:
            refused.append(refuse())
        return inner(*arguments)

    one = learner()
    monkeypatch.setattr(place, where, refused_once)
    with pytest.raises(
        OutOfMemory, match=r"^cuDNN had no room for its workspace, and what it uses instead gives other"
    ):
        one.logits(START) if where == "evaluate" else one.fit(START, EVEN, 1)
    assert same(one.fit(START, EVEN, 1), learner().fit(START, EVEN, 1))
    assert_array_equal(one.logits(START), learner().logits(START))


def test_photos_that_the_gpu_has_no_room_for_stay_beside_it_and_that_is_no_fault(refuse: Any) -> None:
    def rows() -> Any:
        refuse()
        return PHOTOS

    beside = NetworkOnDevice(small(), config.Training(epochs=1), 3, rows)
    lesson = Lesson(LABELS, START, np.arange(len(LABELS)))
    assert same(NetworkTrainer(lesson, beside).fit(START, EVEN, 1), learner().fit(START, EVEN, 1))


@pytest.mark.parametrize(
    "said",
    [
        "GET was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    ],
)
def test_a_convolution_without_an_engine_is_a_full_gpu_only_where_that_refused_memory(
    monkeypatch: pytest.MonkeyPatch, refuse: Any, said: str
) -> None:
    refused = []

    def no_engine(*arguments: Any) -> None:
        if refused:
            refuse()
        raise RuntimeError(said)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", no_engine)
    with pytest.raises(RuntimeError, match=said) as caught:
        learner().fit(START, EVEN, 1)
    assert caught.type is RuntimeError
    refused.append(True)
    with pytest.raises(OutOfMemory, match=said):
        learner().fit(START, EVEN, 1)


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_a_gpu_without_bfloat16_is_said_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, trainable: str
) -> None:
    def supported(including_emulation: bool = True) -> Any:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    said = (
        r"^training\.precision: bf16, but this GPU \(Tesla T4\) has no units for it; set training\.precision to fp32$"
    )
    training = config.Training(trainable=trainable)
    network = on_device(small(), training, PHOTOS, "cuda")
    with pytest.raises(ValueError, match=said):
        NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS))), network).fit(START, EVEN, 1)
    if trainable != "all":
        with pytest.raises(ValueError, match=said):
            FeatureMaker(small(), training, 3, START, "cuda")


def test_features_for_which_the_gpu_refused_memory_are_none(monkeypatch: pytest.MonkeyPatch, refuse: Any) -> None:
    maker = FeatureMaker(small(), config.Training(trainable="head"), 3, START, "cpu")
    found = maker.features(PHOTOS)
    maker._model.register_forward_hook(lambda *call: refuse())
    with pytest.raises(OutOfMemory, match="other bits"):
        maker.features(PHOTOS)
    monkeypatch.undo()
    assert_array_equal(maker.features(PHOTOS), found)


def test_a_full_gpu_is_freed_before_the_next_trial_builds_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = on_device(small(), config.Training(epochs=1), PHOTOS)
    one, other = (NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS)), fold=fold), shared) for fold in (0, 1))
    one.fit(START, EVEN, 1)
    before, built = weakref.ref(shared.model), []

    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def build_anew(*arguments: Any, build: Any = build) -> Any:
        gc.collect()
        built.append(before() is None)
        return build(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "cross_entropy", full)
        with pytest.raises(OutOfMemory):
            one.fit(START, EVEN, 2)
    monkeypatch.setattr(on_device_module.networks, "build", build_anew)
    assert same(other.fit(START, EVEN, 1), learner(fold=1).fit(START, EVEN, 1))
    assert built[0]


def test_what_this_machine_lacks_is_said_at_once_and_what_is_wrong_with_the_network_in_the_round() -> None:
    def gone() -> None:
        raise ValueError("the photos are gone")

    with pytest.raises(ValueError, match="the photos are gone"):
        NetworkOnDevice(small(), config.Training(), 3, gone).make()
    network = config.Network(backbone="mobilenet_v3_small", weights="none", image_size=SIZE)
    wrong = NetworkOnDevice(network, config.Training(batch_size=1), 3, lambda: PHOTOS)
    wrong.make()
    start = starting_weights(network, 3, [1]).weights
    with pytest.raises(ValueError, match="too few for mobilenet_v3_small"):
        NetworkTrainer(Lesson(LABELS, start, np.arange(len(LABELS))), wrong).fit(start, EVEN, 1)


def test_another_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", wrong)
    with pytest.raises(RuntimeError, match="illegal memory access") as caught:
        learner().fit(START, EVEN, 1)
    assert caught.type is RuntimeError


def test_weights_stay_where_they_are_from_round_to_round(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def spy(model: Any, weights: Any, load: Any = load_weights) -> None:
        loaded.append(len(weights))
        load(model, weights)

    monkeypatch.setattr(on_device_module.networks, "load_weights", spy)
    one = learner()
    weights = one.fit(START, EVEN, 1)
    logits = one.logits(weights)
    again = one.fit(weights, EVEN, 2)
    assert_array_equal(one.logits(again), learner().logits(again))
    assert loaded == [len(START), len(START)]  # the second is that of the other learner
    assert_array_equal(one.logits(weights), logits)
    assert same(one.fit(START, EVEN, 1), weights)


def test_trials_of_one_process_share_a_network() -> None:
    shared = on_device(small(), config.Training(epochs=1), PHOTOS)
    one, other = (NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS)), fold=fold), shared) for fold in (0, 1))
    first = one.fit(START, EVEN, 1)
    assert same(other.fit(START, EVEN, 1), learner(fold=1).fit(START, EVEN, 1))
    assert_array_equal(one.logits(first), learner().logits(first))
    assert same(one.fit(START, EVEN, 1), first)


def test_switches_hold_while_it_computes_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(*arguments: Any) -> Any:
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        return cross_entropy(*arguments)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spy)
    threads = torch.get_num_threads()
    wanted = 3 - min(threads, 2)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = learner(config.Training(epochs=1, batch_size=COUNT, threads=wanted))
    one.logits(one.fit(START, EVEN, 1))
    assert seen == [(wanted, True)]
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_conv1() -> None:
    conv1 = learner().conv1(START)
    assert_array_equal(conv1.weight, START["features.0.weight"])
    assert (conv1.weight.shape, conv1.stride, conv1.padding) == ((8, 3, 7, 7), (2, 2), (3, 3))


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@NO_GPU
@pytest.mark.parametrize("backbone", ["small", "alexnet", "resnet18", "squeezenet1_1"])
def test_a_gpu_gives_the_same_bits_again(backbone: str) -> None:
    network = config.Network(backbone=backbone, weights="none", image_size=96)
    photos, labels = stripes(COUNT, 96)
    start = starting_weights(network, 3, [0]).weights
    training = config.Training(epochs=2, augmentation=["crop", "flip"])
    lesson = Lesson(labels, start, np.arange(len(labels)))
    one, other = (NetworkTrainer(lesson, on_device(network, training, photos, "cuda")) for _ in range(2))
    weights = one.fit(start, EVEN, 1)
    one.fit(weights, EVEN, 2)
    assert same(one.fit(start, EVEN, 1), weights)
    assert same(other.fit(start, EVEN, 1), weights)
    assert_array_equal(one.logits(weights), other.logits(weights))


@NO_GPU
def test_photos_on_a_gpu_and_beside_it_give_the_same_bits() -> None:
    training, lesson = (
        config.Training(epochs=2, augmentation=["crop", "flip"]),
        Lesson(LABELS, START, np.arange(len(LABELS))),
    )
    fitting = NetworkOnDevice(small(), training, 3, lambda: PHOTOS, Place("cuda", 1.0))
    streamed = NetworkOnDevice(small(), training, 3, lambda: PHOTOS, Place("cuda", 0.0))
    weights = NetworkTrainer(lesson, fitting).fit(START, EVEN, 1)
    assert same(NetworkTrainer(lesson, streamed).fit(START, EVEN, 1), weights)
    kinds = [type(network.inputs._rows) for network in (fitting, streamed)]
    assert kinds == [DeviceRows, PinnedRows]


@NO_GPU
def test_a_full_gpu_is_said_and_is_free_again() -> None:
    network, training = config.Network(backbone="small", weights="none", image_size=SIZE), config.Training(epochs=1)
    one = NetworkTrainer(Lesson(LABELS, START, np.arange(len(LABELS))), on_device(network, training, PHOTOS, "cuda"))
    weights = one.fit(START, EVEN, 1)
    all_but_a_little = torch.empty(torch.cuda.mem_get_info()[0] - 2**20, dtype=torch.uint8, device="cuda")
    with pytest.raises(OutOfMemory):
        NetworkTrainer(
            Lesson(np.repeat(LABELS, 1000), START, np.arange(1000 * len(LABELS))),
            on_device(network, config.Training(epochs=1, batch_size=10**6), np.repeat(PHOTOS, 1000, 0), "cuda"),
        ).fit(START, np.repeat(EVEN, 1000), 1)
    del all_but_a_little
    torch.cuda.empty_cache()
    assert same(one.fit(START, EVEN, 1), weights)
