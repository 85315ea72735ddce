"""Where a run comes from, in the tags that MLflow's users expect: program, user, git commit, and its data."""

import json
import os
from collections.abc import Sequence

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types import ColSpec, DataType, Schema

from rsrl_ray.store.location import Location, redacted
from rsrl_ray.tracking.entries import FoldData
from rsrl_ray.tracking.mlflow_insides import source_of
from rsrl_ray.tracking.names import DATASET_CONTEXT, GIT_DIRTY

_SCHEMA = Schema([ColSpec(DataType.string, "image"), ColSpec(DataType.long, "score")])


def source_tags() -> dict[str, str]:
    """The program, its user and, if the working directory is in a git repository, the commit that is checked out.

    ``mlflow.source.git.dirty`` says whether files that git knows were changed after that commit.
    """
    folder = os.getcwd()
    found = {**source_of(folder), GIT_DIRTY: _dirty(folder)}
    return {name: value for name, value in found.items() if value is not None}


def _dirty(folder: str) -> str | None:
    try:
        from git import Repo  # without a git program this raises

        return str(Repo(folder, search_parent_directories=True).is_dirty()).lower()
    except Exception:  # as MLflow does when it looks at git: what is not known is not said
        return None


def dataset_inputs(splits: Sequence[FoldData]) -> list[DatasetInput]:
    """A fold's photos as inputs of a run."""
    return [DatasetInput(_dataset(split), [InputTag(key=DATASET_CONTEXT, value=split.context)]) for split in splits]


def _dataset(split: FoldData) -> Dataset:
    name = os.path.basename(Location(split.source).bare.rstrip("/"))
    described = MetaDataset(_source(redacted(split.source)), name, split.digest, _SCHEMA).to_dict()  # type: ignore[abstract]
    profile = {"num_rows": sum(split.counts.values()), "photos_by_score": split.counts}
    return Dataset(**described, profile=json.dumps(profile))


def _source(place: str) -> DatasetSource:
    return resolve_dataset_source(place) if Location(place).is_uri else LocalArtifactDatasetSource(place)
