"""What AWS and Google Cloud would refuse of a cluster file, as their libraries know it without asking them."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rsrl_ray.cluster.file import ClusterFile, Keys, Mistake, meant

_INSTALL = "install it: pip install -e '.[cluster]'"
_UNKNOWN = re.compile(r'Unknown parameter in (\S+): "(\w+)", must be one of: (.*)')
_WRONG = re.compile(r"(Invalid \w+ for|Missing required) parameter (?:in )?([\w.\[\]]+)[,:] (.*)")
_RAYS_OWN = {"SubnetIds"}  # not EC2's: Ray chooses one of them


def aws_mistakes(file: ClusterFile) -> Iterator[Mistake]:
    """Region, instances, what EC2 is told of them, and their roles."""
    try:
        import botocore.session
        from botocore.validate import ParamValidator
    except ModuleNotFoundError:
        yield file.mistake(("provider", "type"), f"`ray up` needs boto3 for it; {_INSTALL}")
        return
    session = botocore.session.get_session()
    ec2 = session.get_service_model("ec2")
    yield from _aws_place(
        file,
        [
            region
            for part in session.get_available_partitions()
            for region in session.get_available_regions("ec2", part)
        ],
    )
    run = ec2.operation_model("RunInstances").input_shape
    types = ec2.shape_for("InstanceType").enum
    for name, node_type in file.node_types.items():
        keys: Keys = ("available_node_types", name, "node_config")
        node = {key: value for key, value in node_type["node_config"].items() if key not in _RAYS_OWN}
        report = ParamValidator().validate(node | {"MinCount": 1, "MaxCount": 1}, run)
        yield from (_of_ec2(file, keys, line) for line in report.generate_report().splitlines())
        instance = node.get("InstanceType")
        if instance not in types:
            told = (
                f"{instance!r} is no instance that boto3 {_version()} knows" if instance else "InstanceType is missing"
            )
            hint = meant(instance, types) or "; of a new one, pip install -U boto3"
            yield file.mistake((*keys, "InstanceType"), told + hint)
        if "ssh_private_key" in file.config.get("auth", {}) and not {"KeyName", "UserData"} & node.keys():
            yield file.mistake(keys, "KeyName is missing; give EC2's name of the key pair of auth.ssh_private_key")
    profiles = {name: instance_profile(node_type["node_config"]) for name, node_type in file.node_types.items()}
    yield from _rights(file, profiles, "IamInstanceProfile", "the role that experiments/aws_account.py makes")


def gcp_mistakes(file: ClusterFile) -> Iterator[Mistake]:
    """Zone, what Compute Engine is told of the machines, and their accounts."""
    try:
        from googleapiclient.discovery_cache import get_static_doc
    except ModuleNotFoundError:
        yield file.mistake(("provider", "type"), f"`ray up` needs google-api-python-client for it; {_INSTALL}")
        return
    place = file.config["provider"]
    for needed in ("project_id", "region", "availability_zone"):
        if not place.get(needed):
            yield file.mistake(("provider",), f"{needed} is missing; cluster-gcp.yaml of the project has an example")
    yield from _zones(file)
    schemas = json.loads(get_static_doc("compute", "v1"))["schemas"]
    accounts = {}
    for name, node_type in file.node_types.items():
        keys: Keys = ("available_node_types", name, "node_config")
        node = node_type["node_config"]
        if "machineType" in node:  # else a TPU
            yield from _of_compute_engine(file, keys, node, schemas, "Instance")
        given = node.get("serviceAccounts") or [{}]
        accounts[name] = given[0].get("email") if isinstance(given, list) and isinstance(given[0], dict) else None
    yield from _rights(file, accounts, "serviceAccounts", "the account that the top of cluster-gcp.yaml makes")


def _aws_place(file: ClusterFile, regions: list[str]) -> Iterator[Mistake]:
    region = file.config["provider"].get("region")
    if region not in regions:
        hint = meant(region, regions) or "; give one such as eu-central-1"
        yield file.mistake(("provider", "region"), f"{region!r} is no region of AWS{hint}")
    yield from _zones(file)


def _zones(file: ClusterFile) -> Iterator[Mistake]:
    region, zones = (file.config["provider"].get(key) for key in ("region", "availability_zone"))
    for zone in map(str.strip, zones.split(",") if zones and region else ()):
        if not zone.startswith(region):
            yield file.mistake(
                ("provider", "availability_zone"), f"{zone} is not in the region {region}; change either"
            )


def _of_ec2(file: ClusterFile, keys: Keys, line: str) -> Mistake:
    """A line of botocore's report."""
    if unknown := _UNKNOWN.fullmatch(line):
        inside, name, known = unknown.groups()
        return file.mistake(
            (*keys, *_split(inside), name), f"EC2 knows no such parameter{meant(name, known.split(', '))}"
        )
    if wrong := _WRONG.match(line):
        told = f"{wrong[3]} is missing" if wrong[1].startswith("Missing") else f"EC2 refuses it: {wrong[3]}"
        return file.mistake((*keys, *_split(wrong[2])), told)
    return file.mistake(keys, f"EC2 refuses it: {line}")


def _split(inside: str) -> Keys:
    words = [] if inside == "input" else re.findall(r"\w+", inside)
    return tuple(int(word) if word.isdigit() else word for word in words)


def _of_compute_engine(
    file: ClusterFile, keys: Keys, value: object, schemas: dict[str, Any], name: str
) -> Iterator[Mistake]:
    """Names and choices that the API's description does not have."""
    known = schemas[name].get("properties", {})
    for key, inner in value.items() if isinstance(value, dict) and known else ():
        here = (*keys, str(key))
        if key not in known:
            yield file.mistake(here, f"Compute Engine knows no such setting{meant(key, known)}")
            continue
        choices = known[key].get("enum")
        if choices and inner not in choices:
            yield file.mistake(here, f"{inner!r}; give one of {', '.join(choices)}")
        of, inside = known[key].get("items", known[key]).get("$ref"), inner if isinstance(inner, list) else [inner]
        for number, part in enumerate(inside if of else ()):
            below = (*here, number) if isinstance(inner, list) else here
            yield from _of_compute_engine(file, below, part, schemas, of)


def instance_profile(node: dict[str, Any]) -> str | None:
    """The name of a node's instance profile, which EC2 takes by name or ARN."""
    given = node.get("IamInstanceProfile")
    if not isinstance(given, dict):
        return None
    return next((str(given[key]).rpartition("/")[2] for key in ("Name", "Arn") if key in given), None)


def _rights(file: ClusterFile, roles: dict[str, str | None], key: str, which: str) -> Iterator[Mistake]:
    """Nodes without a role of their own: of the head Ray would make one that may do everything."""
    for name, role in roles.items():
        keys = ("available_node_types", name, "node_config", key)
        if role is None:
            yield file.mistake(keys, f"missing, and without it the node does not reach the bucket; give {which}")
        elif name != file.head_type and role == roles.get(str(file.head_type)):
            yield file.mistake(keys, f"{role} is the head's, which may start machines; give workers {which} for them")


def _version() -> str:
    from importlib.metadata import version

    return version("boto3")
