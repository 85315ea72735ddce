"""What MLflow is told of a model, so that others can load, ask and serve it: its columns, an example, what it needs."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from PIL import Image

from rsrl_ray import served

_ANY: AnyType = AnyType()  # type: ignore[no-untyped-call]

# What `served` imports, directly or through others of this package; ray and what draws figures are not among it.
REQUIREMENTS = (
    "jsonargparse",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
)


def signature(scores: Iterable[int]) -> ModelSignature:
    """A path or a photo in; its score, an error in its place, and a probability and likelihood of each of ``scores``.

    A photo is bytes, or text that `served` decodes: MLflow's own reading of base64 takes one of its forms, and makes
    garbage of the others. All are optional: of path and photo one is given, and a photo with an error has nothing else.
    """
    numbers = [name.format(score) for name in (served.PROBABILITY, served.LIKELIHOOD) for score in scores]
    answer = {served.SCORE: DataType.long, served.ERROR: DataType.string} | dict.fromkeys(numbers, DataType.double)
    return ModelSignature(inputs=_schema({served.PATH: DataType.string, served.PHOTO: _ANY}), outputs=_schema(answer))


def _schema(columns: Mapping[str, DataType | AnyType]) -> Schema:
    return Schema([ColSpec(kind, name, required=False) for name, kind in columns.items()])


def input_example() -> pd.DataFrame:
    """A made picture as bytes: photos are not for everybody who may see a registry."""
    picture = BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(picture, "PNG")
    return pd.DataFrame({served.PHOTO: [picture.getvalue()]})


def requirements() -> list[str]:
    """What the model needs, in the versions installed here (without such as +cpu, which only some indices have)."""
    heif = ("pillow-heif",) if find_spec("pillow_heif") else ()
    return [f"{name}=={version(name).split('+')[0]}" for name in (*REQUIREMENTS, *heif)]
