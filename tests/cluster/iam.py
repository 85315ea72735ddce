"""Policies as IAM evaluates them, as far as those of experiments/aws_account.py go, before every call to moto.

moto enforces policies too, but looks at neither conditions nor EC2's resources, which is what these are made of.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto.ec2 import ec2_backends

ROOT = Path(__file__).parents[2]
TAG = "ray-cluster-name"
Document = dict[str, Any]


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("aws_account", ROOT / "experiments" / "aws_account.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["aws_account"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


aws_account = _script()


def settled(folder: Path, bucket: str = "rsrl") -> Path:
    """cluster.yaml with its bucket put in."""
    file = folder / "cluster.yaml"
    file.write_text((ROOT / "cluster.yaml").read_text().replace("my-bucket", bucket))
    return file


@dataclass(frozen=True)
class Request:
    """What IAM is asked: may this be done with that, under these circumstances?"""

    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


def allows(document: Document, asked: Request) -> bool:
    """Whether a statement of the document allows it."""

    def holds(statement: Document) -> bool:
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
        conditions = statement.get("Condition", {})
        assert statement["Effect"] == "Allow" and conditions.keys() <= {"StringEquals", "StringEqualsIfExists"}
        equal = conditions.get("StringEquals", {})
        if_there = conditions.get("StringEqualsIfExists", {})
        return (
            any(fnmatchcase(asked.action, pattern) for pattern in statement["Action"])
            and any(fnmatchcase(asked.resource, pattern) for pattern in statement["Resource"])
            and all(asked.context.get(key) == value for key, value in equal.items())
            and all(asked.context.get(key, value) == value for key, value in if_there.items())
        )

    return any(map(holds, document["Statement"]))


def unused(document: Document, asked: list[Request]) -> set[str]:
    """The names of statements without which all that was asked would be allowed too, and actions never asked for."""
    granted = [request for request in asked if allows(document, request)]
    names = set()
    for statement in document["Statement"]:
        rest = {"Statement": [other for other in document["Statement"] if other != statement]}
        names |= {statement["Sid"]} if all(allows(rest, request) for request in granted) else set()
        names |= set(statement["Action"]) - {request.action for request in granted}
    return names


@contextlib.contextmanager
def enforced(document: Document) -> Iterator[list[Request]]:
    """Every call to AWS is made with these rights alone; what was asked of IAM."""
    call, asked = BaseClient._make_api_call, []

    def make(client: Any, operation: str, params: dict[str, Any]) -> Any:
        service, region = client.meta.service_model.service_name, client.meta.region_name
        for request in _requests(service, operation, params, f"arn:aws:ec2:{region}"):
            asked.append(request)
            if not allows(document, request):
                told = {
                    "Error": {"Code": "UnauthorizedOperation", "Message": f"{request.action} on {request.resource}"}
                }
                raise ClientError(told, operation)  # type: ignore[arg-type]
        return call(client, operation, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", make)
        yield asked


def _requests(service: str, operation: str, params: dict[str, Any], ec2: str) -> Iterator[Request]:
    """What EC2 asks IAM for a call, see "Actions, resources, and condition keys for Amazon EC2" in AWS's reference."""
    if operation in ("CreateTags", "TerminateInstances"):
        wanted = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in params.get("Tags", [])}
        for instance in params.get("Resources", params.get("InstanceIds")):
            yield Request(f"ec2:{operation}", f"{ec2}:123456789012:instance/{instance}", wanted | _tags(instance))
    elif operation == "RunInstances":
        yield from _to_run(params, ec2)
    else:
        yield Request(f"{service}:{operation}", "*")


def _to_run(params: dict[str, Any], ec2: str) -> Iterator[Request]:
    tags = [tag for spec in params["TagSpecifications"] if spec["ResourceType"] == "instance" for tag in spec["Tags"]]
    context = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}
    mine = f"{ec2}:123456789012"
    yield Request("ec2:RunInstances", f"{mine}:instance/*", context)
    if tags:
        yield Request("ec2:CreateTags", f"{mine}:instance/*", context | {"ec2:CreateAction": "RunInstances"})
    used = [f"{ec2}::image/ami-1", f"{ec2}::snapshot/snap-1", f"{mine}:subnet/{params['SubnetId']}"]
    used += [f"{mine}:security-group/{group}" for group in params["SecurityGroupIds"]]
    used += [f"{mine}:key-pair/{params['KeyName']}", f"{mine}:volume/*", f"{mine}:network-interface/*"]
    used += [f"{mine}:spot-instances-request/*"] if "InstanceMarketOptions" in params else []
    for resource in used:
        yield Request("ec2:RunInstances", resource)
    role = f"arn:aws:iam::123456789012:role/{params['IamInstanceProfile']['Name']}"
    yield Request("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})
    parameter = params["ImageId"].removeprefix("resolve:ssm:")
    yield Request("ssm:GetParameters", f"arn:aws:ssm:{ec2.rpartition(':')[2]}::parameter{parameter}")


def _tags(instance: str) -> dict[str, str]:
    """Of an instance, asked without regard to rights."""
    backend = ec2_backends["123456789012"]["eu-central-1"]
    return {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in backend.get_instance(instance).get_tags()}


def of_bucket(method: str, path: str) -> Request:
    """What S3 asks IAM for a request, see "Required permissions for Amazon S3 API operations"."""
    place, options = urlsplit(path).path.strip("/"), parse_qs(urlsplit(path).query, keep_blank_values=True)
    bucket, _, key = place.partition("/")
    if not key and "delete" not in options:
        assert method in ("GET", "HEAD"), (method, path)
        return Request("s3:GetBucketLocation" if "location" in options else "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    action = {
        "GET": "GetObject",
        "HEAD": "GetObject",
        "PUT": "PutObject",
        "POST": "PutObject",
        "DELETE": "DeleteObject",
    }[method]
    if "delete" in options:
        action = "DeleteObject"
    elif method == "DELETE" and "uploadId" in options:
        action = "AbortMultipartUpload"
    return Request(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key or '*'}")


def state() -> dict[str, Any]:
    """The roles of the account: trust, rights, instance profiles."""
    found = boto3.client("iam").get_account_authorization_details(Filter=["Role"])["RoleDetailList"]
    return {
        role["RoleName"]: (
            role["AssumeRolePolicyDocument"],
            role["RolePolicyList"],
            role["AttachedManagedPolicies"],
            [profile["InstanceProfileName"] for profile in role["InstanceProfileList"]],
        )
        for role in found
    }
