"""What a trial says when it cannot go on."""

from types import SimpleNamespace

import pytest

from rsrl_ray.core.trial import Origin
from rsrl_ray.store.storage import StorageError
from rsrl_ray.sweep.report import Failure
from rsrl_ray.sweep.trainable import RSRLTrial
from rsrl_ray.vision.learner import OutOfMemory

ORIGIN = Origin("ab", "cpu-AVX2", ("2.15.0", "0.30.0"))


def ended_by(error: Exception, gpus: float, batch_size: int) -> dict[str, object]:
    """The report of a trial whose next round raises ``error``."""

    def rounds():  # type: ignore[no-untyped-def]
        raise error
        yield

    trial = RSRLTrial.__new__(RSRLTrial)
    resources, training = SimpleNamespace(gpus=gpus), SimpleNamespace(batch_size=batch_size)
    trial._task = SimpleNamespace(experiment=SimpleNamespace(resources=resources, training=training))  # type: ignore
    trial._rounds, trial._origin = rounds(), ORIGIN
    return trial.step()


@pytest.mark.parametrize(
    ("gpus", "batch_size", "ways"),
    [
        (
            0.25,
            32,
            "resources.gpus 0.5 (a larger share of a GPU; the results stay the same) or training.batch_size 16 "
            "(another recipe)",
        ),
        (1, 32, "training.batch_size 16 (another recipe)"),
        (0.75, 1, "resources.gpus 1 (a larger share of a GPU; the results stay the same)"),
    ],
)
def test_a_full_gpu_says_what_to_change(gpus: float, batch_size: int, ways: str) -> None:
    error = OutOfMemory("CUDA out of memory. Tried to allocate 2 GiB.")
    said = f"the GPU's memory is full (CUDA out of memory. Tried to allocate 2 GiB.); try {ways}"
    assert Failure.from_result(ended_by(error, gpus, batch_size)) == Failure(said, ORIGIN)


def test_storage_that_refuses_ends_the_trial_with_its_words() -> None:
    ended = ended_by(StorageError("storage: cannot write"), 0, 1)
    assert Failure.from_result(ended) == Failure("storage: cannot write", ORIGIN)
    assert ended["done"]
