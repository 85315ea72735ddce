"""What Ray's cluster launcher says of a cluster file. The launcher itself asks the cloud after almost no checks.

At an upgrade: run tests/cluster.
"""

import copy
import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft7Validator
from ray.autoscaler._private.util import prepare_config, validate_config


def schema_errors(config: dict[str, Any]) -> list[Any]:
    """A `ValidationError` for each place that does not follow Ray's schema; `ray up` names only the first one."""
    schema = json.loads((files("ray.autoscaler") / "ray-schema.json").read_text())
    return list(Draft7Validator(schema).iter_errors(config))


def refusal(config: dict[str, Any]) -> str | None:
    """Why `ray up` refuses the content of a cluster file, in one line; None if it accepts it."""
    quiet: dict[str, Any] = {"file_mounts": {}}  # Ray prints a warning for each of them that is a file
    try:
        validate_config(prepare_config(copy.deepcopy(config | quiet)))
    except Exception as error:  # Ray's code raises AssertionError, KeyError and others
        return (str(error) or repr(error)).splitlines()[0]
    return None
