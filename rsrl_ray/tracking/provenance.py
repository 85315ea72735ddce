"""Where a run comes from, as MLflow's users expect it: program, user, git commit, and the data that it was made of."""

import json
import os
from collections.abc import Sequence

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking.context.default_context import DefaultRunContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils import git_utils
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_GIT_REPO_URL,
)

from rsrl_ray.store.location import Location, redacted
from rsrl_ray.tracking.entries import FoldData

_SCHEMA = Schema([ColSpec(DataType.string, "image"), ColSpec(DataType.long, "score")])


def source_tags() -> dict[str, str]:
    """The program, its user and, where the working directory is in a git repository, the commit that is checked out.

    ``mlflow.source.git.dirty`` says whether files that git knows were changed since.
    """
    folder = os.getcwd()
    found = {
        **DefaultRunContext().tags(),  # type: ignore[no-untyped-call]
        MLFLOW_GIT_COMMIT: git_utils.get_git_commit(folder),
        MLFLOW_GIT_BRANCH: git_utils.get_git_branch(folder),
        MLFLOW_GIT_REPO_URL: git_utils.get_git_repo_url(folder),
        MLFLOW_GIT_DIRTY: _dirty(folder),
    }
    return {name: value for name, value in found.items() if value is not None}


def _dirty(folder: str) -> str | None:
    try:
        from git import Repo  # without a git program this raises

        return str(Repo(folder, search_parent_directories=True).is_dirty()).lower()
    except Exception:  # as MLflow's own look at git does: what is not known is not said
        return None


def dataset_inputs(splits: Sequence[FoldData]) -> list[DatasetInput]:
    """A fold's photos as inputs of a run."""
    return [
        DatasetInput(_dataset(split), [InputTag(key=MLFLOW_DATASET_CONTEXT, value=split.context)]) for split in splits
    ]


def _dataset(split: FoldData) -> Dataset:
    name = os.path.basename(Location(split.source).bare.rstrip("/"))
    described = MetaDataset(_source(redacted(split.source)), name, split.digest, _SCHEMA).to_dict()  # type: ignore[abstract]
    profile = {"num_rows": sum(split.counts.values()), "photos_by_score": split.counts}
    return Dataset(**described, profile=json.dumps(profile))


def _source(place: str) -> DatasetSource:
    return resolve_dataset_source(place) if Location(place).is_uri else LocalArtifactDatasetSource(place)
