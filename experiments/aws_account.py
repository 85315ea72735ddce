"""Once for an AWS account: the two roles that cluster.yaml names, with the rights that a sweep needs and no more.

    python experiments/aws_account.py cluster.yaml                    # needs the keys of an administrator
    python experiments/aws_account.py cluster.yaml --photos BUCKET    # photos that lie in another bucket: read only

Region, cluster_name, bucket and the roles' names are those of the file: change them there, then run this again. It
makes what is missing, also after a run that was cut short, and sets the rights to those of this call: give --photos
again too. `policies` says what each role may do.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from rsrl_ray.cluster.checks import cluster_mistakes
from rsrl_ray.cluster.clouds import instance_profile
from rsrl_ray.cluster.file import ClusterFile, read_cluster_file

POLICY = "rsrl"  # its name in both roles
DESCRIPTION = "Nodes of a cluster of rsrl_ray, made by its experiments/aws_account.py"
Document = dict[str, Any]
_VERSION = "2012-10-17"  # of the language
_WRITE = ["s3:PutObject", "s3:AbortMultipartUpload"]
_TRUST: Document = {
    "Version": _VERSION,
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class Setup:
    """What the roles are made for.

    photos : buckets that are read only. head, worker : names of the roles and of their instance profiles.
    """

    account: str
    partition: str
    region: str
    cluster: str
    bucket: str
    photos: tuple[str, ...]
    head: str
    worker: str

    def ec2(self, *kinds: str) -> list[str]:
        """Resources of EC2 in the region; images and snapshots belong to no account."""
        of_all = ("image", "snapshot")
        return [
            f"arn:{self.partition}:ec2:{self.region}:{'' if kind in of_all else self.account}:{kind}/*"
            for kind in kinds
        ]

    def role(self, name: str) -> str:
        """The ARN of a role."""
        return f"arn:{self.partition}:iam::{self.account}:role/{name}"

    def objects(self, *buckets: str, below: str = "*") -> list[str]:
        """Objects of buckets."""
        return [f"arn:{self.partition}:s3:::{bucket}/{below}" for bucket in buckets]


def main(words: Sequence[str] | None = None) -> int:
    """Make the roles; 1 if that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="cluster.yaml")
    parser.add_argument("--photos", nargs="*", default=[], metavar="BUCKET", help="buckets that hold photos")
    asked = parser.parse_args(words)
    try:
        make(setup(read_cluster_file(asked.file), asked.photos))
    except NoCredentialsError:
        print("aws_account: no AWS keys here; give them: aws configure", file=sys.stderr)
    except (ValueError, ClientError, BotoCoreError) as error:
        print(f"aws_account: {_said(error)}", file=sys.stderr)
    else:
        return 0
    return 1


def setup(file: ClusterFile, photos: Sequence[str]) -> Setup:
    """What the cluster file asks for. Raises ValueError if it has a mistake or is not of AWS."""
    if file.config["provider"].get("type") != "aws":
        raise ValueError(f"{file.path}: its provider is not aws; the top of cluster-gcp.yaml says what GCP needs")
    mistakes = [mistake for mistake in cluster_mistakes(file) if not mistake.place.startswith("file_mounts")]
    if mistakes:
        raise ValueError(f"{file.path}, {mistakes[0]}")
    buckets = list(dict.fromkeys(bucket.name for bucket in file.buckets()))
    if len(buckets) != 1:
        raise ValueError(f"{file.path}: it names {len(buckets)} buckets; give one: rsrl server s3://BUCKET/...")
    profiles = {name: instance_profile(node_type["node_config"]) for name, node_type in file.node_types.items()}
    workers = {profile for name, profile in profiles.items() if name != file.head_type}
    if len(workers) != 1:
        raise ValueError(f"{file.path}: its workers have {len(workers)} roles; give all the same IamInstanceProfile")
    region = file.config["provider"]["region"]
    session = boto3.Session(region_name=region)
    return Setup(
        session.client("sts").get_caller_identity()["Account"],
        session.get_partition_for_region(region),
        region,
        file.config["cluster_name"],
        buckets[0],
        tuple(photos),
        str(profiles[str(file.head_type)]),
        str(workers.pop()),
    )


def policies(setup: Setup) -> dict[str, Document]:
    """What each role may do, by its name; all else is refused.

    Workers decode photos of strangers and train: they read the buckets and write rounds, and do not delete. The head
    runs driver, MLflow and Ray's autoscaler: it also writes and deletes in the bucket, starts machines that have the
    tag of this cluster and at most the worker's role, and ends those that have the tag. It gives no machine the tag of
    another cluster, whose head would take that for a worker and send it its token.
    """
    tag, tagged = ({f"aws:{of}Tag/ray-cluster-name": setup.cluster} for of in ("Request", "Resource"))
    starting, to_ec2 = {"ec2:CreateAction": "RunInstances"}, {"iam:PassedToService": "ec2.amazonaws.com"}
    machine, worker_role = setup.ec2("instance"), [setup.role(setup.worker)]
    parts = setup.ec2("image", "snapshot", "subnet", "security-group", "network-interface", "key-pair", "volume")
    image = f"arn:{setup.partition}:ssm:{setup.region}:*:parameter/aws/service/*"
    seen = ["ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"]
    head = [
        *_reads(setup),
        _allow("WriteBucket", [*_WRITE, "s3:DeleteObject"], setup.objects(setup.bucket)),
        _allow("SeeMachines", seen, ["*"]),  # EC2 knows no narrower right to see
        _allow("StartWorkers", ["ec2:RunInstances"], machine, StringEquals=tag),
        _allow("StartWorkersOf", ["ec2:RunInstances"], [*parts, *setup.ec2("spot-instances-request")]),
        _allow("TagWorkersAtStart", ["ec2:CreateTags"], machine, StringEquals=tag | starting),
        _allow("TagWorkers", ["ec2:CreateTags"], machine, StringEquals=tagged, StringEqualsIfExists=tag),
        _allow("EndWorkers", ["ec2:TerminateInstances"], machine, StringEquals=tagged),
        _allow("GiveWorkersTheirRole", ["iam:PassRole"], worker_role, StringEquals=to_ec2),
        _allow("FindImage", ["ssm:GetParameters"], [image]),
    ]
    rounds = [*setup.objects(setup.bucket, below="rounds/*"), *setup.objects(setup.bucket, below="*/rounds/*")]
    worker = [*_reads(setup), _allow("WriteRounds", _WRITE, rounds)]
    return {
        setup.head: {"Version": _VERSION, "Statement": head},
        setup.worker: {"Version": _VERSION, "Statement": worker},
    }


def make(setup: Setup) -> None:
    """Make whatever is not there, and print what is there then. Raises ValueError if a bucket or a name is wrong."""
    for bucket in dict.fromkeys((setup.bucket, *setup.photos)):
        _look_at(bucket, setup)
    iam = boto3.client("iam")
    for name, document in policies(setup).items():
        _make_role(iam, name, document)
        print(f"role {name}: {', '.join(statement['Sid'] for statement in document['Statement'])}")
    with suppress(iam.exceptions.EntityAlreadyExistsException, iam.exceptions.InvalidInputException):
        iam.create_service_linked_role(
            AWSServiceName="spot.amazonaws.com"
        )  # without it an account has no spot machines
    print(f"buckets: {setup.bucket}; read only: {', '.join(setup.photos) or 'none'}")
    print("the cluster file names both roles: nothing to change there. EC2 knows them in a minute, then: ray up")


def _make_role(iam: Any, name: str, document: Document) -> None:
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST), Description=DESCRIPTION)
    if iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] != _TRUST:
        raise ValueError(f"there is a role {name} of something else; put another name into the cluster file")
    iam.put_role_policy(RoleName=name, PolicyName=POLICY, PolicyDocument=json.dumps(document))
    for more in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        print(f"note: role {name} has {more['PolicyArn']} too, not from here; aws iam detach-role-policy takes it away")
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_instance_profile(InstanceProfileName=name)
    held = [role["RoleName"] for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]]
    if not held:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    elif held != [name]:
        raise ValueError(
            f"the instance profile {name} holds the role {held[0]}; put another name into the cluster file"
        )


def _look_at(bucket: str, setup: Setup) -> None:
    try:
        boto3.client("s3", region_name=setup.region).head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            raise ValueError(
                f"there is no bucket {bucket}; make it: aws s3 mb s3://{bucket} --region {setup.region}"
            ) from error
        raise ValueError(f"the bucket {bucket} is not open to these keys; it may be another account's") from error


def _reads(setup: Setup) -> list[Document]:
    buckets = (setup.bucket, *setup.photos)
    places = [f"arn:{setup.partition}:s3:::{bucket}" for bucket in buckets]
    return [
        _allow("ListBuckets", ["s3:ListBucket"], places),
        _allow("ReadBuckets", ["s3:GetObject"], setup.objects(*buckets)),
    ]


def _allow(sid: str, actions: list[str], resources: list[str], **conditions: dict[str, str]) -> Document:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": conditions} if conditions else {})


def _said(error: Exception) -> str:
    """The error in one line; if AWS refuses, whose keys can do it."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"].startswith(("AccessDenied", "Unauthorized")):
        return f"{error.operation_name} is not allowed with these keys; take those of an administrator of the account"
    return str(error).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
