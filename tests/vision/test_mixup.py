"""Batches that are mixed with class-balanced ones, compared with numbers computed by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from vision.test_trainer import EVEN, LABELS, PHOTOS, START, on_device, same, small

from rsrl_ray.config import Training
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.linear import LinearOnDevice
from rsrl_ray.vision.mixup import Mixer, mixed_inputs, mixed_losses
from rsrl_ray.vision.trainer import NetworkTrainer

FEW = np.repeat([0, 1, 2], [60, 30, 10])


def mixer(alpha: float = 0.2, seed: int = 0) -> Mixer:
    return Mixer(alpha, np.arange(100), FEW, torch.Generator().manual_seed(seed))


def test_inputs_and_labels_are_mixed_by_hand() -> None:
    inputs = [torch.tensor([[4.0, 8.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0]])]
    others = [torch.tensor([[0.0, 0.0], [8.0, 2.0]]), torch.tensor([[5.0, 9.0]])]
    found = list(mixed_inputs(iter(inputs), iter(others), [0.25, 1.0]))
    assert_close(found, [torch.tensor([[3.0, 6.0], [2.0, 2.0]]), torch.tensor([[5.0, 9.0]])])
    # The softmax is (1/2, 1/4, 1/4); the labels are 0 and 1, of which the second has 3/4.
    logits, one, other = torch.tensor([[2.0, 1.0, 1.0]]).log(), torch.tensor([0]), torch.tensor([1])
    (loss,) = mixed_losses(cross_entropy, iter([other]), [0.75])
    assert float(loss(logits, one)) == pytest.approx(0.25 * np.log(2) + 0.75 * np.log(4))
    assert_close(loss(logits, one), cross_entropy(logits, torch.tensor([[0.25, 0.75, 0.0]])))


def test_lambda_is_beta_of_alpha_and_1() -> None:
    # Its distribution function is x^alpha, so a uniform number u gives u^(1/alpha); the mean is alpha / (1 + alpha).
    draw = torch.Generator().manual_seed(0)
    torch.multinomial(torch.from_numpy(1 / np.array([60, 30, 10])[FEW]), 100, replacement=True, generator=draw)
    uniform = torch.rand(100, generator=draw, dtype=torch.float64).numpy()
    np.testing.assert_allclose(mixer(0.5).partners(100, 1).shares, uniform**2, atol=5e-7)
    for alpha in (0.1, 0.2, 1.0):
        drawn = mixer(alpha)
        shares = np.concatenate([drawn.partners(100, 1).shares for _ in range(60)])
        assert shares.mean() == pytest.approx(alpha / (1 + alpha), abs=0.02)


def test_partners_are_of_all_classes_alike_and_in_no_order() -> None:
    drawn = mixer()
    passes = [drawn.partners(100, 16) for _ in range(60)]
    assert all([len(part) for part in each.parts] == [16] * 6 + [4] and len(each.shares) == 7 for each in passes)
    partners = np.stack([np.concatenate(each.parts) for each in passes])
    assert np.all(abs(np.bincount(FEW[partners.ravel()]) - 2000) < 200)
    # in each place of a batch too: no place is for photos of low numbers
    assert np.all(abs(partners.mean(axis=0) - partners.mean()) < 20)
    assert drawn.partners(40, 16).parts[-1].shape == (8,)  # a pass that ends early


def test_a_step_is_that_of_the_mixed_batch() -> None:
    """Of a linear layer, by hand; the order of photos is that of a round without mixing."""
    features = np.random.default_rng(0).normal(0, 1, (100, 5)).astype(np.float32)
    start = {"head.weight": np.zeros((3, 5), np.float32), "head.bias": np.zeros(3, np.float32)}
    rate = {"epochs": 1, "batch_size": 100, "learning_rate": 0.1, "head_factor": 1.0, "weight_decay": 0.0}
    training = Training(trainable="head", precision="fp32", **rate)
    lesson = Lesson(FEW, start, np.arange(100), mixup=2.0)
    weights = NetworkTrainer(lesson, LinearOnDevice(training, 3, features)).fit(start, np.ones(100, dtype=bool), 1)
    mixing = lesson.mixer(np.arange(100), 1)
    assert mixing is not None
    (partners,), (share,) = mixing.partners(100, 100)
    assert 0.2 < share < 0.99
    inputs = (1 - share) * features + share * features[partners]
    targets = (1 - share) * np.eye(3)[FEW] + share * np.eye(3)[FEW[partners]]
    slopes = (1 / 3 - targets) / 100  # of the softmax of no logits
    np.testing.assert_allclose(weights["head.weight"], -0.1 * slopes.T @ inputs, atol=1e-6)
    np.testing.assert_allclose(weights["head.bias"], -0.1 * slopes.sum(axis=0), atol=1e-6)


@pytest.mark.parametrize("steps", ["kept", "all"])
@pytest.mark.parametrize("augmentation", [[], ["crop", "flip"]])
def test_a_mixed_round_is_a_pure_function(steps: Any, augmentation: list[Any]) -> None:
    """So it has the same bits after a process has died."""
    training = Training(epochs=2, batch_size=16, steps=steps, augmentation=augmentation)

    def trainer(mixup: float = 0.2) -> NetworkTrainer:
        lesson = Lesson(LABELS, START, np.arange(len(LABELS)), mixup=mixup)
        return NetworkTrainer(lesson, on_device(small(), training, PHOTOS))

    one = trainer()
    first = one.fit(START, EVEN, 1)
    second = one.fit(first, EVEN, 2)
    torch.manual_seed(123)
    assert same(trainer().fit(first, EVEN, 2), second)
    assert not same(trainer(0.3).fit(first, EVEN, 2), second)
    assert not same(trainer(0).fit(first, EVEN, 2), second)


def test_features_are_mixed_in_their_own_precision() -> None:
    found = next(mixed_inputs(iter([torch.ones(2, 3).bfloat16()]), iter([torch.zeros(2, 3).bfloat16()]), [0.25]))
    assert found.dtype == torch.bfloat16 and found.float().unique().tolist() == [0.75]
