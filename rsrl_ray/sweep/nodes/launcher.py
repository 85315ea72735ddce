"""What Ray's cluster launcher takes: `ray up` validates nothing else before it asks the cloud."""

import copy
import json
from importlib.resources import files
from typing import Any

import ray.autoscaler
from jsonschema import Draft7Validator, ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config


def schema_errors(config: dict[str, Any]) -> list[ValidationError]:
    """Where the content of a cluster file is not what Ray's schema says; `ray up` tells the first alone."""
    schema = json.loads((files(ray.autoscaler) / "ray-schema.json").read_text())
    return list(Draft7Validator(schema).iter_errors(config))


def refusal(config: dict[str, Any]) -> str | None:
    """Why `ray up` refuses the content of a cluster file, in one line; None where it does not."""
    quiet: dict[str, Any] = {"file_mounts": {}}  # of those that are files Ray prints a warning each
    try:
        validate_config(prepare_config(copy.deepcopy(config | quiet)))
    except Exception as error:  # asserts, KeyErrors and what else Ray's code meets
        return (str(error) or repr(error)).splitlines()[0]
    return None
