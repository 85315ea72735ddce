"""The roles that experiments/aws_account.py makes: enough for Ray's autoscaler, the archive and MLflow, and no more."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError
from cluster.iam import TAG, Request, allows, aws_account, enforced, of_bucket, settled, state, unused
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from moto import mock_aws
from moto.iam.models import iam_backends
from ray.autoscaler._private.aws import node_provider, utils
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from sweep.servers import KEYS, Handler, place, proxied, s3_server

from rsrl_ray.cluster.file import read_cluster_file
from rsrl_ray.store.archive import Archive, Record
from rsrl_ray.store.storage import Storage, probe_storage
from rsrl_ray.tracking.names import DATABASE
from rsrl_ray.tracking.server import DatabaseCopy

pytestmark = pytest.mark.slow

REGION = "eu-central-1"
WORKER = {"ray-node-type": "worker", "ray-user-node-type": "worker"}
SETUP = aws_account.Setup("123456789012", "aws", REGION, "rsrl", "rsrl", ("photos",), "rsrl-head", "rsrl-worker")
HEAD_MAY, WORKER_MAY = aws_account.policies(SETUP).values()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A new AWS account with two buckets; Ray has forgotten those of other tests."""
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache in (utils.resource_cache, utils.client_cache):
        cache.cache_clear()
    with mock_aws():
        for bucket in ("rsrl", "photos"):
            boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield


@pytest.mark.usefixtures("aws")
def test_two_roles_are_made_and_a_second_time_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(settled(tmp_path)), "--photos", "photos"]
    assert aws_account.main(words) == 0
    first, said = state(), capsys.readouterr().out
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    for name, document in {"rsrl-head": HEAD_MAY, "rsrl-worker": WORKER_MAY}.items():
        trusted, policies, attached, profiles = first[name]
        assert trusted["Statement"] == [trust]
        assert [policy["PolicyDocument"] for policy in policies] == [document]
        assert (attached, profiles) == ([], [name])
    assert len(first) == 3 and any("spot" in name.lower() for name in first)  # without which there are no spot machines
    assert "role rsrl-worker: ListBuckets, ReadBuckets, WriteRounds\n" in said
    assert aws_account.main(words) == 0
    assert state() == first


@pytest.mark.usefixtures("aws")
def test_a_run_that_was_cut_short_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    call, left = BaseClient._make_api_call, 1000

    def cut_short(client: Any, operation: str, params: Any) -> Any:
        nonlocal left
        left -= operation.startswith(("Create", "Put", "Add"))  # before all others it is cut short in the same state
        if left < 0:
            raise EndpointConnectionError(endpoint_url="iam")
        return call(client, operation, params)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", cut_short)
        aws_account.make(SETUP)
    whole, calls = state(), 1000 - left
    assert calls == 2 * 4 + 1
    for made in range(calls):
        iam_backends["123456789012"]["aws"].reset()
        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", cut_short)
            left = made
            with pytest.raises(EndpointConnectionError):
                aws_account.make(SETUP)
        aws_account.make(SETUP)
        assert state() == whole, made


def a_role_of_something_else() -> None:
    boto3.client("iam").create_role(RoleName="rsrl-head", AssumeRolePolicyDocument='{"Statement": []}')


def a_profile_of_something_else() -> None:
    iam = boto3.client("iam")
    iam.create_role(RoleName="other", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="rsrl-worker")
    iam.add_role_to_instance_profile(InstanceProfileName="rsrl-worker", RoleName="other")


def no_bucket() -> None:
    boto3.client("s3").delete_bucket(Bucket="rsrl")


MISTAKES: dict[str, tuple[Callable[[], None], str]] = {
    "role": (a_role_of_something_else, "there is a role rsrl-head of something else; put another name"),
    "profile": (a_profile_of_something_else, "the instance profile rsrl-worker holds the role other; put another name"),
    "bucket": (no_bucket, f"there is no bucket rsrl; make it: aws s3 mb s3://rsrl --region {REGION}"),
}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str) -> None:
    make, message = MISTAKES[mistake]
    make()
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        aws_account.make(SETUP)


@pytest.mark.usefixtures("aws")
def test_a_mistake_in_the_file_is_one_line_before_aws_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aws_account.main([str(settled(tmp_path, "my-bucket"))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "head_start_ray_commands[3]: still my-bucket of the example" in line
    assert state() == {}


@pytest.mark.usefixtures("aws")
def test_without_rights_or_keys_it_says_whose_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settled(tmp_path)
    aws_account.setup(read_cluster_file(file), [])  # asked with all rights
    call = BaseClient._make_api_call

    def refuse(client: Any, operation: str, params: Any) -> Any:
        if operation == "CreateRole":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "User is not authorized"}}, operation)
        return call(client, operation, params)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", refuse)
        assert aws_account.main([str(file)]) == 1
    told = "CreateRole is not allowed with these keys; take those of an administrator of the account"
    assert capsys.readouterr().err == f"aws_account: {told}\n"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert aws_account.main([str(file)]) == 1
    assert capsys.readouterr().err == "aws_account: no AWS keys here; give them: aws configure\n"


def on_the_head(file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `ray up`, with all rights, leaves on the head for the autoscaler there."""
    described = boto3.client("ec2").describe_instance_types(InstanceTypes=["m7i.xlarge", "g6.xlarge"])["InstanceTypes"]
    monkeypatch.setattr(node_provider, "list_ec2_instances", lambda region, keys=None: described)
    config = prepare_config(read_cluster_file(file).config)
    ready: dict[str, Any] = AWSNodeProvider.bootstrap_config(
        AWSNodeProvider.fillout_available_node_types_resources(config)
    )
    ready.pop("head_node")
    return ready


@pytest.mark.usefixtures("aws")
def test_the_head_may_do_what_rays_autoscaler_does_to_this_cluster_and_to_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_account.make(SETUP)
    config = on_the_head(settled(tmp_path), monkeypatch)
    provider, worker = config["provider"], config["available_node_types"]["worker"]["node_config"]
    other = AWSNodeProvider(provider, "other")
    other.create_node(worker, WORKER, 1)
    (others,) = other.non_terminated_nodes({})
    with enforced(HEAD_MAY) as asked:
        mine = AWSNodeProvider(provider, "rsrl")
        for _ in range(2):  # moto makes one spot instance a request
            mine.create_node(worker, WORKER, 1)
        nodes = mine.non_terminated_nodes({})
        assert len(nodes) == 2 and mine.internal_ip(nodes[0])
        mine.set_node_tags(nodes[0], {"ray-node-status": "up-to-date"})
        AWSNodeProvider.bootstrap_config(config)  # `ray exec --stop` does it there
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            boto3.client("ec2").create_tags(Resources=nodes, Tags=[{"Key": TAG, "Value": "other"}])
        mine.terminate_node(nodes[0])
        mine.terminate_nodes(nodes[1:])
        assert mine.non_terminated_nodes({}) == []
        of_buckets = {name for name in unused(HEAD_MAY, asked) if "Bucket" in name or name.startswith("s3:")}
        assert unused(HEAD_MAY, asked) - of_buckets == {"ec2:DescribeInstanceTypes"}  # asked for on `ray up` too

        head = config["available_node_types"]["head"]["node_config"]
        with pytest.raises(NodeLaunchException, match="iam:PassRole on arn:aws:iam::123456789012:role/rsrl-head"):
            mine.create_node(head, WORKER, 1)
        with pytest.raises(NodeLaunchException, match=r"ec2:RunInstances on .*instance/"):
            other.create_node(worker, WORKER, 1)
        for refused in (
            lambda: other.terminate_nodes([others]),
            lambda: boto3.client("ec2").create_tags(Resources=[others], Tags=[{"Key": TAG, "Value": "rsrl"}]),
            lambda: boto3.client("ec2").describe_key_pairs(),
            lambda: boto3.client("iam").list_roles(),
        ):
            with pytest.raises(ClientError, match="UnauthorizedOperation"):
                refused()
    assert other.non_terminated_nodes({}) == [others]


def test_a_worker_may_nothing_but_read_the_buckets_and_write_rounds() -> None:
    assert {action for statement in WORKER_MAY["Statement"] for action in statement["Action"]} == {
        "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"
    }  # fmt: skip
    for action, key, may in (
        ("GetObject", "photos/a.jpg", True),
        ("GetObject", "rsrl/deep/rounds/ab/abcd/manifest.json", True),
        ("PutObject", "rsrl/deep/rounds/ab/abcd/manifest.json", True),
        ("PutObject", "rsrl/rounds/ab/abcd/manifest.json", True),
        ("DeleteObject", "rsrl/deep/rounds/ab/abcd/manifest.json", False),
        ("PutObject", "rsrl/deep/mlflow.db", False),
        ("PutObject", "rsrl/deep/artifacts/1/page.html", False),
        ("PutObject", "photos/a.jpg", False),
        ("GetObject", "others/a.jpg", False),
    ):
        assert allows(WORKER_MAY, Request(f"s3:{action}", f"arn:aws:s3:::{key}")) is may, (action, key)


@pytest.fixture(scope="module")
def bucket() -> Iterator[int]:
    """The port of an S3 server that holds the bucket ``rsrl``."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with s3_server() as port:
            yield port


def test_what_is_asked_of_the_bucket_is_allowed(bucket: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    class Noted(Handler):
        def parse_request(self) -> bool:
            whole = super().parse_request()
            asked.append(of_bucket(self.command, self.path))
            return whole

    with proxied(bucket) as proxy:
        proxy.RequestHandlerClass = Noted
        root, server = place(proxy.server_port, "deep/folder"), f"http://127.0.0.1:{proxy.server_port}"
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{bucket}").create_bucket(Bucket="photos")
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", server)
        trial_does(root)
        for request in asked:
            assert allows(WORKER_MAY, request), request
        assert unused(WORKER_MAY, asked) == {"s3:AbortMultipartUpload"}  # of an upload that breaks off
        driver_does(root, tmp_path)
    for request in asked:  # arrow looks for a bucket that is not there: the answer tells it what server this is
        assert allows(HEAD_MAY, request) or "unlikelytoexist" in request.resource, request
    assert {name for name in unused(HEAD_MAY, asked) if "Bucket" in name or name.startswith("s3:")} == {
        "s3:AbortMultipartUpload"
    }
    assert f"arn:aws:s3:::rsrl/deep/folder/{DATABASE}" in {request.resource for request in asked}


def trial_does(root: str) -> None:
    """Rounds of any size, held and read again; photos of another bucket."""
    archive, storage = Archive(root), Storage(root)
    record = Record(1, np.zeros((2, 3), np.float32), np.ones(2, np.bool_), {}, "trial", 0.0, 1.0, parent="")
    archive.hold("abcd", "me", {})
    archive.write("abcd", record, {"weight": np.zeros(3_000_000, np.float32)})  # in several parts
    assert (
        archive.read("abcd") is not None and archive.read("ffff") is None and archive.read_weights("abcd") is not None
    )
    assert storage.list("rounds/ab")
    assert Storage(root.replace("//rsrl", "//photos")).read("none.jpg") is None


def driver_does(root: str, folder: Path) -> None:
    """Whether it can be written, weights that nobody needs, MLflow's artifacts and the copy of its database."""
    probe_storage(root)
    Archive(root).release("abcd", "me")
    artifacts = get_artifact_repository("s3://rsrl/deep/folder/artifacts")
    (folder / "page.html").write_bytes(bytes(20_000_000))  # in several parts
    artifacts.log_artifact(str(folder / "page.html"))
    assert [file.path for file in artifacts.list_artifacts()] == ["page.html"]
    artifacts.download_artifacts("page.html", str(folder))
    artifacts.delete_artifacts("page.html")
    for name in ("one", "another"):
        copy = DatabaseCopy(folder / f"{name}.db", root)
        copy.fetch()
        with contextlib.closing(sqlite3.connect(folder / f"{name}.db")) as database:
            database.execute(f"CREATE TABLE {name} (x)")
        copy.push()
