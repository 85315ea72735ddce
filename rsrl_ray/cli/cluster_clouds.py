"""What AWS and Google Cloud would refuse of a cluster file, as their libraries know it without asking them."""

import json
from collections.abc import Iterator
from typing import Any

from rsrl_ray.cli.cluster_file import ClusterFile, Keys, Mistake, against_schema, meant

_INSTALL = "install it: pip install -e '.[cluster]'"
_RULES = ("$ref", "properties", "additionalProperties", "items", "enum")
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
    ec2, parts = session.get_service_model("ec2"), session.get_available_partitions()
    regions = [region for part in parts for region in session.get_available_regions("ec2", part)]
    region = file.config["provider"].get("region")
    if region not in regions:
        yield file.mistake(("provider", "region"), f"{region!r} is no region of AWS{meant(region, regions)}")
    yield from _zones(file)
    run = ec2.operation_model("RunInstances").input_shape
    types = ec2.shape_for("InstanceType").enum
    for name, node_type in file.node_types.items():
        keys: Keys = ("available_node_types", name, "node_config")
        node = {key: value for key, value in node_type["node_config"].items() if key not in _RAYS_OWN}
        report = ParamValidator().validate(node | {"MinCount": 1, "MaxCount": 1}, run)
        yield from (file.mistake(keys, f"EC2 refuses it: {line}") for line in report.generate_report().splitlines())
        instance = node.get("InstanceType")
        if instance not in types:
            hint = meant(instance, types) or "; of a new one, pip install -U boto3"
            yield file.mistake((*keys, "InstanceType"), f"{instance!r} is no instance that boto3 knows{hint}")
    profiles = {name: instance_profile(node_type["node_config"]) for name, node_type in file.node_types.items()}
    yield from _rights(file, profiles, "IamInstanceProfile", "the role that experiments/aws_account.py makes")


def gcp_mistakes(file: ClusterFile) -> Iterator[Mistake]:
    """Zone, what Compute Engine is told of the machines, and their accounts."""
    try:
        from googleapiclient.discovery_cache import get_static_doc
    except ModuleNotFoundError:
        yield file.mistake(("provider", "type"), f"`ray up` needs google-api-python-client for it; {_INSTALL}")
        return
    yield from _zones(file)
    instances = _validator(json.loads(get_static_doc("compute", "v1"))["schemas"], "Instance")
    accounts = {}
    for name, node_type in file.node_types.items():
        keys: Keys = ("available_node_types", name, "node_config")
        node = node_type["node_config"]
        if "machineType" in node:  # else a TPU
            yield from against_schema(file, keys, instances.iter_errors(node), "Compute Engine")
        given = node.get("serviceAccounts") or [{}]
        accounts[name] = given[0].get("email") if isinstance(given, list) and isinstance(given[0], dict) else None
    yield from _rights(file, accounts, "serviceAccounts", "the account that the top of cluster-gcp.yaml makes")


def _validator(schemas: dict[str, Any], name: str) -> Any:
    """Of names and choices alone: the API takes a number in the place of a text, and Ray fills in what is required."""
    from jsonschema import Draft7Validator, validators
    from referencing import Registry
    from referencing.jsonschema import DRAFT7

    strict = [(of, DRAFT7.create_resource({"additionalProperties": False, **schema})) for of, schema in schemas.items()]
    rules = {rule: Draft7Validator.VALIDATORS[rule] for rule in _RULES}
    return validators.create({}, rules)({"$ref": name}, registry=Registry().with_resources(strict))


def _zones(file: ClusterFile) -> Iterator[Mistake]:
    region, zones = (file.config["provider"].get(key) for key in ("region", "availability_zone"))
    for zone in map(str.strip, zones.split(",") if zones and region else ()):
        if not zone.startswith(region):
            yield file.mistake(
                ("provider", "availability_zone"), f"{zone} is not in the region {region}; change either"
            )


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
