"""Values of a trial's rounds [R, N] in less memory than an array takes: as bits, or read when they are asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class ByRound(Protocol):
    """Values [R, N], indexed like an array, by rounds and then by photos. An array is one too."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Bits(Sequence[NDArray[np.bool_]]):
    """A mask [R, N] in an eighth of its memory."""

    def __init__(self, packed: NDArray[np.uint8], photos: int) -> None:
        """Keep the bits. packed : [R, N / 8], as `np.packbits` makes it. photos : N."""
        self._packed, self._photos = packed, photos

    def __len__(self) -> int:
        """R."""
        return len(self._packed)

    def __getitem__(self, place: Any) -> Any:
        """As an array gives it."""
        rounds, photos = _parted(place)
        return np.unpackbits(self._packed[rounds], axis=-1, count=self._photos).view(np.bool_)[..., photos]


@dataclass(frozen=True)
class OnDemand(Sequence[NDArray[Any]]):
    """Values [R, N] of which each round is read when it is asked for: ``read`` gives that of a number, from 1, [N]."""

    rounds: int
    read: Callable[[int], NDArray[Any]]

    def __len__(self) -> int:
        """R."""
        return self.rounds

    def __getitem__(self, place: Any) -> Any:
        """As an array gives it."""
        rounds, photos = _parted(place)
        numbers = range(1, self.rounds + 1)[rounds]
        if isinstance(numbers, int):
            return self.read(numbers)[photos]
        return np.stack([self.read(number)[photos] for number in numbers])


def _parted(place: Any) -> tuple[Any, Any]:
    """Which rounds, and which photos of them."""
    return place if isinstance(place, tuple) else (place, slice(None))
