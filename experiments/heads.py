"""Last layers that train in lockstep, and the bare loop that they are measured against; no Ray, nothing written."""

import time

import numpy as np
import torch

from rsrl_ray.config import Training
from rsrl_ray.vision.evaluation import EVALUATION_BATCH
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.linear import BIAS, WEIGHT, LinearOnDevice
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.trainer import NetworkTrainer, fit_together, judge_together

PHOTOS, WIDTH, CLASSES, LAYERS = 3100, 1280, 8, 16
TRAIN = np.arange(2232)  # of five folds, with a tenth of the others for validation
TRAINING = Training(trainable="head", steps="weighted", precision="fp32", epochs=3, head_factor=1)
DRAWN = np.random.default_rng(0)
FEATURES, LABELS = DRAWN.normal(size=(PHOTOS, WIDTH)).astype(np.float32), DRAWN.integers(0, CLASSES, PHOTOS)


def own_seconds() -> float:
    """Seconds in which the product trains and judges a round of `LAYERS` layers."""
    start: Weights = {WEIGHT: np.zeros((CLASSES, WIDTH), np.float32), BIAS: np.zeros(CLASSES, np.float32)}
    network, kept = LinearOnDevice(TRAINING, CLASSES, FEATURES), np.isin(np.arange(PHOTOS), TRAIN)
    trainers = [NetworkTrainer(Lesson(LABELS, start, TRAIN), network) for _ in range(LAYERS)]
    found = fit_together(trainers, [start] * LAYERS, [kept] * LAYERS, 1)  # makes what is made once
    weights = [each for each in found if isinstance(each, dict)]
    began = time.monotonic()
    fit_together(trainers, weights, [kept] * LAYERS, 2)
    judge_together(trainers, weights)
    return time.monotonic() - began


def bare_seconds() -> float:
    """Seconds of the same in a loop over tensors: batched products, the gradient of the softmax by hand."""
    torch.set_num_threads(1)
    features, labels = torch.from_numpy(FEATURES), torch.from_numpy(LABELS)
    weight = torch.zeros(LAYERS, WIDTH, CLASSES)
    weight.grad = torch.zeros_like(weight)
    optimizer = torch.optim.SGD([weight], TRAINING.learning_rate, TRAINING.momentum, fused=True)
    began = time.monotonic()
    for _ in range(TRAINING.epochs):
        for rows in torch.from_numpy(TRAIN)[torch.randperm(len(TRAIN))].split(TRAINING.batch_size):
            inputs = features[rows].expand(LAYERS, -1, -1)
            slopes = torch.bmm(inputs, weight).softmax(2)
            slopes = (slopes - torch.nn.functional.one_hot(labels[rows], CLASSES)) / len(rows)
            weight.grad.copy_(torch.bmm(inputs.transpose(1, 2), slopes))
            optimizer.step()
    for rows in features.split(EVALUATION_BATCH):
        torch.bmm(rows.expand(LAYERS, -1, -1), weight)
    return time.monotonic() - began
