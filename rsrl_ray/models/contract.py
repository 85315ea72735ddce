"""What MLflow must know to load, ask and serve a model: its columns, an example, its requirements."""

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
from rsrl_ray.vision.timm_networks import PREFIX

_ANY: AnyType = AnyType()  # type: ignore[no-untyped-call]

# What `served` imports, directly or through other modules of this package. ray and matplotlib are not in this list.
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
    """The columns of a model. In: path, photo. Out: score, error, a probability and likelihood for each of ``scores``.

    A photo is bytes or text, and `served` decodes the text, because MLflow reads one form of base64 and makes garbage
    of the others. All columns are optional: path or photo is given, and a photo with an error has only the error.
    """
    numbers = [name.format(score) for name in (served.PROBABILITY, served.LIKELIHOOD) for score in scores]
    answer = {served.SCORE: DataType.long, served.ERROR: DataType.string} | dict.fromkeys(numbers, DataType.double)
    return ModelSignature(inputs=_schema({served.PATH: DataType.string, served.PHOTO: _ANY}), outputs=_schema(answer))


def _schema(columns: Mapping[str, DataType | AnyType]) -> Schema:
    return Schema([ColSpec(kind, name, required=False) for name, kind in columns.items()])


def input_example() -> pd.DataFrame:
    """A generated picture as bytes, because not everybody who sees a registry may see the photos."""
    picture = BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(picture, "PNG")
    return pd.DataFrame({served.PHOTO: [picture.getvalue()]})


def requirements(backbone: str) -> list[str]:
    """What the model needs, in the versions that are installed here.

    Suffixes such as +cpu are left out, because only some package indices have such versions.
    """
    timm = ("timm",) if backbone.startswith(PREFIX) else ()
    heif = ("pillow-heif",) if find_spec("pillow_heif") else ()
    return [f"{name}=={version(name).split('+')[0]}" for name in (*REQUIREMENTS, *timm, *heif)]
