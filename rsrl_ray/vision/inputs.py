"""How photos, or features in their place, come to a network: where their rows are, and how batches are made of them."""

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
"""The rows of each batch, one batch after the other."""


class HostRows:
    """Rows [N, ...] in the machine's memory or in a memory-mapped file, for a CPU."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def batches(self, parts: Batches) -> Iterator[Tensor]:
        """Yield the rows of each part, [B, ...], on the device."""
        for rows in parts:
            yield torch.from_numpy(np.asarray(self._array[rows]))


class DeviceRows:
    """Rows on the device. Their batches are gathered there, and the host does not wait."""

    def __init__(self, array: NDArray[Any], device: torch.device) -> None:
        self._rows, self._device = torch.tensor(array, device=device), device

    def batches(self, parts: Batches) -> Iterator[Tensor]:
        """See `HostRows`."""
        order = torch.from_numpy(np.concatenate(parts)).to(self._device)
        for rows in torch.split(order, [len(rows) for rows in parts]):
            yield self._rows.index_select(0, rows)


class PinnedRows:
    """Rows that do not fit into the GPU's memory: one pinned buffer is filled while the other is copied to the GPU."""

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
            np.take(self._array, rows, axis=0, out=buffer.numpy(), mode="clip")  # other modes copy once more
            there = buffer.to(self._device, non_blocking=True, copy=True)
            if cuda:
                copied[turn % 2].record()
            yield there

    def _buffer(self, count: int, pinned: bool) -> Tensor:
        like = torch.from_numpy(np.empty(0, dtype=self._array.dtype)).dtype
        return torch.empty((count, *self._array.shape[1:]), dtype=like, pin_memory=pinned)


Rows = HostRows | DeviceRows | PinnedRows


def rows_on(device: torch.device, array: NDArray[Any], room: int) -> Rows:
    """The rows of ``array`` [N, ...] for this device. They may take ``room`` bytes of its memory."""
    if device.type == "cpu":
        return HostRows(array)
    if array.nbytes > room:
        return PinnedRows(array, device)
    try:
        return DeviceRows(array, device)
    except RuntimeError as error:  # another process has taken the memory first
        if not is_full(error):
            raise
        return PinnedRows(array, device)


class PhotoInputs:
    """Gives photos [N, S, S, 3], uint8, as a network takes them: [B, 3, S, S], normalised, channels last."""

    def __init__(self, rows: Rows, kinds: Collection[str], normalise: Normaliser, device: torch.device) -> None:
        """``kinds`` : of augmentation, see `windows`."""
        self._rows, self._kinds, self._normalise, self._device = rows, kinds, normalise, device

    def batches(self, parts: Batches, augmentation: torch.Generator | None = None) -> Iterator[Tensor]:
        """Yield the inputs of each part; they are augmented if ``augmentation``, random numbers, is given."""
        for photos in self._rows.batches(parts):
            yield self._normalise(self._augmented(photos, augmentation) if augmentation and self._kinds else photos)

    def _augmented(self, photos: Tensor, generator: torch.Generator) -> Tensor:
        y, x = windows(len(photos), photos.shape[1], self._kinds, generator)
        first = torch.arange(len(photos), device=self._device)[:, None, None]
        return photos[first, y[:, :, None].to(self._device), x[:, None, :].to(self._device)]


class FeatureInputs:
    """Gives features in the form of `stored` as the trained part of a network takes them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def batches(self, parts: Batches, augmentation: torch.Generator | None = None) -> Iterator[Tensor]:
        """See `PhotoInputs`. Features cannot be augmented."""
        for rows in self._rows.batches(parts):
            features = rows.view(torch.bfloat16) if rows.dtype == torch.int16 else rows
            yield features.permute(0, 3, 1, 2) if features.dim() == 4 else features


Inputs = PhotoInputs | FeatureInputs


def stored(features: Tensor) -> NDArray[Any]:
    """Features [B, ...] as a file holds them: the channels of maps last, as in memory, and bfloat16 as int16."""
    last = features.permute(0, 2, 3, 1) if features.dim() == 4 else features
    host = last.contiguous().cpu()
    return np.asarray((host.view(torch.int16) if host.dtype == torch.bfloat16 else host).numpy())


def batches(order: Indices, size: int) -> list[Indices]:
    """Cut ``order`` into batches of ``size``.

    A single photo that is left over joins the last batch, because batch normalisation needs two.
    """
    cuts = list(range(size, len(order), size))
    if cuts and size > 1 and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def windows(count: int, size: int, kinds: Collection[str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which rows and columns of each photo to take: two index tensors, [count, size] each.

    ``crop`` shifts a photo by up to ``size // 8`` pixels in each direction and mirrors its border (reflect padding).
    ``flip`` mirrors it left to right with probability 1/2. The numbers are drawn on the CPU: all devices have the same.
    """
    y = x = torch.arange(size).expand(count, size)
    if "crop" in kinds:
        reach = size // 8
        shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
        y, x = _reflected(y + shift[0], size), _reflected(x + shift[1], size)
    if "flip" in kinds:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(1), x)
    return y, x


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places beyond 0 to size - 1, mirrored at the border."""
    return size - 1 - (size - 1 - places.abs()).abs()
