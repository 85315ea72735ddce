"""Photos, and features in their place, on their way to a network: where the rows lie, how a batch is made of them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsrl_ray.vision.evaluation import Normaliser
from rsrl_ray.vision.memory import is_full

Indices = NDArray[np.int64]
Batches = Sequence[Indices]
"""The rows of one batch after the other."""


class HostRows:
    """Rows [N, ...] that stay in the machine's memory or in a memory-mapped file: for a CPU."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def batches(self, parts: Batches) -> Iterator[Tensor]:
        """The rows of each part, [B, ...], on the device."""
        for rows in parts:
            yield torch.from_numpy(np.asarray(self._array[rows]))


class DeviceRows:
    """Rows that lie on the device, from where batches are gathered without a word to the host."""

    def __init__(self, array: NDArray[Any], device: torch.device) -> None:
        self._rows, self._device = torch.tensor(array, device=device), device

    def batches(self, parts: Batches) -> Iterator[Tensor]:
        """See `HostRows`."""
        order = torch.from_numpy(np.concatenate(parts)).to(self._device)
        for rows in torch.split(order, [len(rows) for rows in parts]):
            yield self._rows.index_select(0, rows)


class PinnedRows:
    """Rows that do not fit onto the GPU: one pinned buffer is filled while another is copied from."""

    def __init__(self, array: NDArray[Any], device: torch.device) -> None:
        self._array, self._device = array, device

    def batches(self, parts: Batches) -> Iterator[Tensor]:
        """See `HostRows`."""
        cuda = self._device.type == "cuda"
        longest = max(map(len, parts))
        buffers = [self._buffer(longest, cuda) for _ in range(2)]
        copied: list[Any] = [torch.cuda.Event() for _ in range(2)] if cuda else []  # type: ignore[no-untyped-call]
        for turn, rows in enumerate(parts):
            buffer = buffers[turn % 2][: len(rows)]
            if cuda:
                copied[turn % 2].synchronize()
            np.take(self._array, rows, axis=0, out=buffer.numpy(), mode="clip")  # any other mode copies once more
            there = buffer.to(self._device, non_blocking=True, copy=True)
            if cuda:
                copied[turn % 2].record()
            yield there

    def _buffer(self, count: int, pinned: bool) -> Tensor:
        like = torch.from_numpy(np.empty(0, dtype=self._array.dtype)).dtype
        return torch.empty((count, *self._array.shape[1:]), dtype=like, pin_memory=pinned)


Rows = HostRows | DeviceRows | PinnedRows


def rows_on(device: torch.device, array: NDArray[Any], room: int) -> Rows:
    """``array`` [N, ...] for this device, on whose memory its rows may take ``room`` bytes."""
    if device.type == "cpu":
        return HostRows(array)
    if array.nbytes > room:
        return PinnedRows(array, device)
    try:
        return DeviceRows(array, device)
    except RuntimeError as error:  # another process was faster
        if not is_full(error):
            raise
        return PinnedRows(array, device)


class PhotoInputs:
    """Photos [N, S, S, 3], uint8, as a network takes them: [B, 3, S, S], normalised, channels last."""

    def __init__(self, rows: Rows, kinds: Collection[str], device: torch.device) -> None:
        """``kinds`` of augmentation: see `windows`."""
        self._rows, self._kinds, self._device = rows, kinds, device
        self._normalise = Normaliser(device)

    def batches(self, parts: Batches, augmentation: torch.Generator | None = None) -> Iterator[Tensor]:
        """The inputs of each part; augmented with numbers of ``augmentation``, if they can be and it is given."""
        for photos in self._rows.batches(parts):
            yield self._normalise(self._augmented(photos, augmentation) if augmentation and self._kinds else photos)

    def _augmented(self, photos: Tensor, generator: torch.Generator) -> Tensor:
        y, x = windows(len(photos), photos.shape[1], self._kinds, generator)
        first = torch.arange(len(photos), device=self._device)[:, None, None]
        return photos[first, y[:, :, None].to(self._device), x[:, None, :].to(self._device)]


class FeatureInputs:
    """Features as `stored` wrote them, as the trained part of a network takes them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def batches(self, parts: Batches, augmentation: torch.Generator | None = None) -> Iterator[Tensor]:
        """See `PhotoInputs`; features cannot be augmented."""
        for rows in self._rows.batches(parts):
            features = rows.view(torch.bfloat16) if rows.dtype == torch.int16 else rows
            yield features.permute(0, 3, 1, 2) if features.dim() == 4 else features


Inputs = PhotoInputs | FeatureInputs


def stored(features: Tensor) -> NDArray[Any]:
    """Features [B, ...] for a file: maps with their channels last, as they lie in memory; bfloat16 as int16."""
    last = features.permute(0, 2, 3, 1) if features.dim() == 4 else features
    host = last.contiguous().cpu()
    return np.asarray((host.view(torch.int16) if host.dtype == torch.bfloat16 else host).numpy())


def batches(order: Indices, size: int) -> list[Indices]:
    """Cut ``order`` into batches of ``size``; a single photo left over joins the last one (batch normalisation)."""
    cuts = list(range(size, len(order), size))
    if cuts and size > 1 and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def windows(count: int, size: int, kinds: Collection[str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which row and which column of each photo to take: two index tensors [count, size].

    ``crop`` shifts a photo by up to ``size // 8`` pixels each way, its border mirrored (reflect padding);
    ``flip`` mirrors it left to right with probability 1/2. Drawn on the CPU, so the same for every device.
    """
    y = x = torch.arange(size).expand(count, size)
    if "crop" in kinds:
        reach = size // 8
        shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
        y, x = (size - 1 - (size - 1 - (axis + by).abs()).abs() for axis, by in zip((y, x), shift, strict=True))
    if "flip" in kinds:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(1), x)
    return y, x
