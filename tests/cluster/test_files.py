"""cluster.yaml and its variant for GCP as Ray's launcher reads them; AWS itself is moto's.

Not proven this way: the image and its driver, quotas, whether spot machines are to be had, all of GCP but the schema.
"""

import copy
import json
import os
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from cluster.iam import aws_account, settled
from moto import mock_aws
from packaging.requirements import Requirement
from ray.autoscaler._private.aws import node_provider
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
AWS, GCP = ROOT / "cluster.yaml", ROOT / "experiments" / "cluster-gcp.yaml"
REGION = "eu-central-1"
Config = dict[str, Any]


def content(path: Path) -> Config:
    read: Config = yaml.safe_load(path.read_text())
    return read


def validated(config: Config) -> Config:
    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An AWS account in which the roles that cluster.yaml names were made; ssh keys go to a home of these tests."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": REGION}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        known = {"m7i.xlarge", "g6.xlarge"}  # all of them take moto 5 s
        described = boto3.client("ec2").describe_instance_types(InstanceTypes=[*known])["InstanceTypes"]
        patch.setattr(node_provider, "list_ec2_instances", lambda region, keys=None: described)
        boto3.client("s3").create_bucket(Bucket="rsrl", CreateBucketConfiguration={"LocationConstraint": REGION})
        assert aws_account.main([str(settled(tmp_path_factory.mktemp("settled")))]) == 0
        yield


def bootstrapped(config: Config) -> Config:
    """As `ray up` does it: schema, what the instances have, then keys, network and security group."""
    filled = AWSNodeProvider.fillout_available_node_types_resources(validated(config))
    ready: Config = AWSNodeProvider.bootstrap_config(filled)
    return ready


def created(config: Config, node_type: str, count: int) -> list[Config]:
    """Start so many nodes of a type; how EC2 describes them."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = config["available_node_types"][node_type]["node_config"]
    for _ in range(count):  # moto makes one spot instance a request
        provider.create_node(node_config, {"ray-node-type": "worker", "ray-user-node-type": node_type}, 1)
    found = boto3.client("ec2").describe_instances(InstanceIds=provider.non_terminated_nodes({}))
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


@pytest.mark.parametrize("path", [AWS, GCP], ids=lambda path: path.name)
def test_one_head_and_from_0_to_n_workers_that_go_when_idle(path: Path) -> None:
    config = validated(content(path))
    types = config["available_node_types"]
    assert (config["max_workers"], config["idle_timeout_minutes"]) == (4, 5)
    assert (types["head"]["max_workers"], types["head"]["resources"]) == (0, {"CPU": 0})
    assert (types["worker"]["min_workers"], types["worker"]["max_workers"]) == (0, 4)


def test_gcp_runs_on_its_nodes_what_aws_does() -> None:
    aws, gcp = content(AWS), content(GCP)
    for changed in ("provider", "available_node_types"):
        del aws[changed], gcp[changed]
    assert json.dumps(aws).replace("s3://", "gs://") == json.dumps(gcp)


@pytest.mark.parametrize("path", [AWS, GCP], ids=lambda path: path.name)
def test_no_node_is_open(path: Path) -> None:
    config = content(path)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start


def test_packages_are_installed_anew_where_the_project_or_the_locked_versions_have_changed(tmp_path: Path) -> None:
    project, tools, pip = tmp_path / "rsrl_ray", tmp_path / "tools", tmp_path / "venv" / "bin" / "pip"
    for folder in (project / "experiments", tools, pip.parent):
        folder.mkdir(parents=True)
    project_file, locked = project / "pyproject.toml", project / "experiments" / "constraints.txt"
    for tool, script in {tools / "sudo": "", tools / "python3": "", pip: "echo installs"}.items():
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o700)
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}"}

    def installs() -> bool:
        command = content(AWS)["setup_commands"][0]
        ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
        return ended.stdout == "installs\n"

    done = []
    for content_of_project, content_of_locked in [("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), ("b", "2")]:
        project_file.write_text(content_of_project)
        locked.write_text(content_of_locked)
        done.append(installs())
    assert done == [True, False, True, True, False]


@pytest.mark.usefixtures("aws")
def test_aws_knows_what_the_nodes_have() -> None:
    types = AWSNodeProvider.fillout_available_node_types_resources(validated(content(AWS)))["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    worker = types["worker"]["resources"]
    assert (worker["CPU"], worker["GPU"], worker["accelerator_type:L4"]) == (4, 1, 1)


@pytest.mark.usefixtures("aws")
def test_only_ssh_comes_in_from_outside() -> None:
    config = bootstrapped(content(AWS))
    for node_type in config["available_node_types"].values():
        (group,) = node_type["node_config"]["SecurityGroupIds"]
        (described,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
        outside = [rule for rule in described["IpPermissions"] if rule["IpRanges"]]
        assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
        inside = [pair["GroupId"] for rule in described["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
        assert inside == [group]


@pytest.mark.usefixtures("aws")
def test_nodes_are_created_and_terminated() -> None:
    config = bootstrapped(content(AWS))
    image = config["available_node_types"]["head"]["node_config"]["ImageId"]
    (head,) = created(config, "head", 1)
    assert (head["InstanceType"], head.get("InstanceLifecycle"), head["ImageId"]) == ("m7i.xlarge", None, image)
    workers = [node for node in created(config, "worker", 2) if node["InstanceId"] != head["InstanceId"]]
    assert [(node["InstanceType"], node["InstanceLifecycle"]) for node in workers] == [("g6.xlarge", "spot")] * 2
    for node in [head, *workers]:
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        role = "rsrl-head" if node is head else "rsrl-worker"
        assert node["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{role}")
        (disk,) = boto3.client("ec2").describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [node["InstanceId"]]}]
        )["Volumes"]
        assert disk["Size"] == 150
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert AWSNodeProvider(config["provider"], config["cluster_name"]).non_terminated_nodes({}) == []


def misspell(config: Config) -> None:
    config["max_wokers"] = config.pop("max_workers")


def misspell_in_a_node_type(config: Config) -> None:
    config["available_node_types"]["worker"]["min_worker"] = 1


def misspell_for_ec2(config: Config) -> None:
    node_config = config["available_node_types"]["worker"]["node_config"]
    node_config["InstanceMarketOption"] = node_config.pop("InstanceMarketOptions")


def another_instance(config: Config) -> None:
    config["available_node_types"]["worker"]["node_config"]["InstanceType"] = "g6.xlarg"


def more_at_least_than_at_most(config: Config) -> None:
    config["available_node_types"]["worker"]["min_workers"] = 5


def another_head(config: Config) -> None:
    config["head_node_type"] = "heat"


MISTAKES: dict[str, tuple[Callable[[Config], None], type[Exception], str]] = {
    "typo": (misspell, jsonschema.ValidationError, r"\('max_wokers' was unexpected\)"),
    "typo in a node type": (misspell_in_a_node_type, jsonschema.ValidationError, r"\('min_worker' was unexpected\)"),
    "typo in what EC2 reads": (
        misspell_for_ec2,
        ParamValidationError,
        'Unknown parameter in input: "InstanceMarketOption", must be one of: .*InstanceMarketOptions',
    ),
    "wrong instance type": (
        another_instance,
        ValueError,
        f"Instance type g6.xlarg is not available in AWS region: {REGION}",
    ),
    "min > max": (more_at_least_than_at_most, ValueError, "`max_workers` is smaller than the sum of `min_workers`"),
    "no such head": (another_head, ValueError, "`head_node_type` must be one of `available_node_types`"),
}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str) -> None:
    make, error, message = MISTAKES[mistake]
    config = copy.deepcopy(content(AWS))
    make(config)
    with pytest.raises(error, match=message):
        created(bootstrapped(config), "worker", 1)
    reservations = boto3.client("ec2").describe_instances()["Reservations"]
    assert {node["State"]["Name"] for found in reservations for node in found["Instances"]} <= {"terminated"}


@pytest.mark.usefixtures("aws")
def test_without_the_role_no_node_starts() -> None:
    config = bootstrapped(content(AWS))
    iam, role = boto3.client("iam"), {"InstanceProfileName": "rsrl-worker", "RoleName": "rsrl-worker"}
    iam.remove_role_from_instance_profile(**role)
    iam.delete_instance_profile(InstanceProfileName="rsrl-worker")
    with pytest.raises(NodeLaunchException, match="Instance profile rsrl-worker not found"):
        created(config, "worker", 1)
    iam.create_instance_profile(InstanceProfileName="rsrl-worker")
    iam.add_role_to_instance_profile(**role)


def test_locked_versions_are_within_the_ranges_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "experiments" / "constraints.txt").read_text().splitlines()
    locked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for needed in map(Requirement, project["dependencies"] + project["optional-dependencies"]["cluster"]):
        (versions,) = [[pin for pin in locked if pin.name == needed.name]]
        assert versions, needed
        for pin in versions:
            assert next(iter(pin.specifier)).version in needed.specifier, (needed, pin)
