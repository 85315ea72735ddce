"""Batches of rows, wherever the rows are. Rows for a GPU are also tried on a CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from rsrl_ray.vision import inputs
from rsrl_ray.vision.inputs import DeviceRows, FeatureInputs, HostRows, PinnedRows, batches, rows_on, stored

CPU = torch.device("cpu")
ARRAY = np.arange(70 * 6, dtype=np.uint8).reshape(70, 2, 3)
PARTS = batches(np.random.default_rng(0).permutation(70)[:50], 7)


@pytest.mark.parametrize("rows", [HostRows(ARRAY), DeviceRows(ARRAY, CPU), PinnedRows(ARRAY, CPU)])
def test_rows_are_taken_in_batches(rows: Any) -> None:
    for _ in range(2):
        taken = list(rows.batches(PARTS))  # all at once, so that it shows if a later batch overwrites an earlier one
        assert len(taken) == len(PARTS) == 7
        for batch, part in zip(taken, PARTS, strict=True):
            assert_array_equal(batch.numpy(), ARRAY[part])


def test_rows_lie_on_a_gpu_where_they_fit() -> None:
    assert isinstance(rows_on(CPU, ARRAY, 0), HostRows)
    assert isinstance(rows_on(torch.device("meta"), ARRAY, ARRAY.nbytes), DeviceRows)
    assert isinstance(rows_on(torch.device("meta"), ARRAY, ARRAY.nbytes - 1), PinnedRows)


@pytest.mark.parametrize("full", [True, False])
def test_where_another_process_has_filled_the_gpu_rows_stay_beside_it(
    monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def refuse(array: Any, device: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.") if full else RuntimeError("an illegal memory access")

    monkeypatch.setattr(inputs, "DeviceRows", refuse)
    if full:
        assert isinstance(rows_on(torch.device("meta"), ARRAY, ARRAY.nbytes), PinnedRows)
    else:
        with pytest.raises(RuntimeError, match="illegal"):
            rows_on(torch.device("meta"), ARRAY, ARRAY.nbytes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [DeviceRows, PinnedRows])
def test_rows_come_onto_a_gpu(kind: Any) -> None:
    taken = list(kind(ARRAY, torch.device("cuda")).batches(PARTS))
    for batch, part in zip(taken, PARTS, strict=True):
        assert batch.is_cuda
        assert_array_equal(batch.cpu().numpy(), ARRAY[part])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5,), (5, 3, 2)])
def test_features_come_back_as_they_were_stored(dtype: Any, shape: Any) -> None:
    features = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    if len(shape) == 3:
        features = features.to(memory_format=torch.channels_last)
    array = stored(features)
    assert array.dtype == (np.int16 if dtype == torch.bfloat16 else np.float32)
    assert array.shape == (4, 3, 2, 5)[: len(shape) + 1] if len(shape) == 3 else (4, 5)
    [back] = FeatureInputs(HostRows(array)).batches([np.arange(4)])
    assert torch.equal(back, features) and back.stride() == features.stride()
