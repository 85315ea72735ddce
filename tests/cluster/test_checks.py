"""`rsrl check cluster.yaml`: what shows without asking the cloud is told, a line each, with where and what to do."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from rsrl_ray.cli import main as cli
from rsrl_ray.cluster.checks import cluster_mistakes
from rsrl_ray.cluster.file import read_cluster_file

pytestmark = pytest.mark.slow  # Ray's launcher and EC2's parameters are read

ROOT = Path(__file__).parents[2]
AWS, GCP = ROOT / "cluster.yaml", ROOT / "experiments" / "cluster-gcp.yaml"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder as far as cluster files name it, where commands are run, and a home with the token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("rsrl_ray", "experiments", "data", ".ray"):
        (tmp_path / folder).mkdir()
    for file in ("experiments/constraints.txt", "pyproject.toml", "README.md", "LICENSE", ".ray/auth_token"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(path: Path, changes: dict[str, str]) -> list[str]:
    """What is told of the file with these texts in the place of others; its placeholders are filled."""
    text = path.read_text().replace("my-bucket", "photos-of-mine").replace("my-project", "mine")
    for before, after in changes.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file = Path("changed.yaml")
    file.write_text(text)
    return [str(mistake) for mistake in cluster_mistakes(read_cluster_file(file))]


def line(path: Path, text: str) -> int:
    (number,) = [number for number, found in enumerate(path.read_text().splitlines(), 1) if text in found]
    return number


@pytest.mark.parametrize(("path", "untouched"), [(AWS, 1), (GCP, 4)], ids=lambda value: getattr(value, "name", ""))
def test_of_the_projects_files_only_what_is_to_be_filled_in_is_told(
    path: Path, untouched: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", str(path)]) == 1
    name, *told, end = capsys.readouterr().out.splitlines()
    assert (name, end) == (str(path), f"{untouched} to mend before `ray up`")
    place = f"line {line(path, 'rsrl server')}, head_start_ray_commands[3]"
    assert told[-1] == f"{place}: still my-bucket of the example; put in the name of your bucket"
    assert len(told) == untouched and all("still my-" in said for said in told)
    assert changed(path, {}) == []
    assert cli.main(["check", "changed.yaml"]) == 0
    assert "nothing wrong that can be seen from here" in capsys.readouterr().out


def test_everything_that_is_not_in_rays_schema_is_told_at_once() -> None:
    told = changed(
        AWS,
        {
            "cluster_name: rsrl\n": "",
            "max_workers: 4 ": "max_wokers: 4 ",
            "min_workers: 0": "min_workers: none",
            "idle_timeout_minutes: 5": "idle_timeout_minutes: -5",
            "setup_commands:": "setup_command:",
            "    resources: {}": "    resource: {}",
        },
    )
    assert sorted(said.partition(", ")[2] or said for said in told) == [
        "available_node_types.worker.min_workers: 'none'; give a whole number",
        "available_node_types.worker.resource: Ray knows no such setting; do you mean resources?",
        "available_node_types.worker: resources is missing; cluster.yaml of the project has an example",
        "idle_timeout_minutes: -5 is less than the minimum of 0",
        "line 17: cluster_name is missing; cluster.yaml of the project has an example",
        "max_wokers: Ray knows no such setting; do you mean max_workers?",
        "setup_command: Ray knows no such setting; do you mean setup_commands?",
    ]


def test_what_aws_would_refuse_is_told_on_its_line() -> None:
    told = changed(
        AWS,
        {
            "region: eu-central-1": "region: eu-centrl-1",
            "min_workers: 0": "min_workers: 5",
            "InstanceType: g6.xlarge": "InstanceType: g6.xlarg",
            "InstanceMarketOptions:": "InstanceMarketOption:",
            "VolumeSize: 150": "VolumeSize: many",
            "{Name: rsrl-worker}": "{Name: rsrl-head}",
            "server s3://photos-of-mine": "server gs://photos-of-mine",
        },
    )
    worker = "available_node_types.worker.node_config"
    disk = "node_config.BlockDeviceMappings[1].Ebs.VolumeSize: EC2 refuses it: value: many, type: <class 'str'>, "
    assert told == [
        f"line {line(AWS, 'region: ')}, provider.region: 'eu-centrl-1' is no region of AWS; do you mean eu-central-1?",
        *(
            f"line {line(AWS, 'VolumeSize')}, available_node_types.{name}.{disk}valid types: <class 'int'>"
            for name in ("head", "worker")
        ),
        f"line {line(AWS, 'min_workers')}, available_node_types.worker.min_workers: 5, more than max_workers, 4; "
        "lower it or raise max_workers",
        f"line {line(AWS, 'rsrl-worker')}, {worker}.IamInstanceProfile: rsrl-head is the head's, which may start "
        "machines; give workers the role that experiments/aws_account.py makes for them",
        f"line {line(AWS, 'g6.xlarge')}, {worker}.InstanceType: 'g6.xlarg' is no instance that boto3 "
        f"{version('boto3')} knows; do you mean g6.xlarge?",
        f"line {line(AWS, 'MarketType')}, {worker}.InstanceMarketOption: EC2 knows no such parameter; do you mean "
        "InstanceMarketOptions?",
        f"line {line(AWS, 'rsrl server')}, head_start_ray_commands[3]: gs://photos-of-mine is of another cloud than "
        "provider.type aws; give s3://...",
    ]


def test_what_google_cloud_would_refuse_is_told_on_its_line() -> None:
    told = changed(
        GCP,
        {
            "availability_zone: europe-west4-a": "availability_zone: europe-west1-b",
            "diskSizeGb: 150": "diskSizeGB: 150",
            "provisioningModel: SPOT": "provisioningModel: SPOTS",
            "max_workers: 4 ": "max_workers: 0 ",
            "head_node_type: head": "head_node_type: heat",
        },
    )
    assert [said.partition(", ")[2] for said in told] == [
        "provider.availability_zone: europe-west1-b is not in the region europe-west4; change either",
        "head_node_type: 'heat' is none of available_node_types; do you mean head?",
        *(
            f"available_node_types.{name}.node_config.disks[1].initializeParams.diskSizeGB: Compute Engine knows no "
            "such setting; do you mean diskSizeGb?"
            for name in ("head", "worker")
        ),
        "available_node_types.worker.node_config.scheduling.provisioningModel: 'SPOTS'; give one of FLEX_START, "
        "RESERVATION_BOUND, SPOT, STANDARD",
    ]


def gone(path: str) -> Callable[[Path], None]:
    def go(project: Path) -> None:
        (project / path).rmdir() if (project / path).is_dir() else (project / path).unlink()

    return go


def an_open_key(project: Path) -> None:
    (project / "key.pem").touch(mode=0o644)


KEY = {"{ssh_user: ubuntu}": "{ssh_user: ubuntu, ssh_private_key: ~/key.pem}"}
FILES: dict[str, tuple[Callable[[Path], None], dict[str, str], str]] = {
    "no photos": (
        gone("data"),
        {},
        "file_mounts.~/rsrl_ray/data: data is not there; put it into {project}, from where `ray up` copies, or delete "
        "the line if no node needs it",
    ),
    "no token": (
        gone(".ray/auth_token"),
        {},
        "file_mounts.~/.ray/auth_token: ~/.ray/auth_token is not there; make it, once: ray get-auth-token --generate",
    ),
    "no constraints": (
        gone("experiments/constraints.txt"),
        {},
        "setup_commands[1]: ~/rsrl_ray/experiments/constraints.txt: there is no experiments/constraints.txt here to be "
        "copied; git checkout experiments/constraints.txt",
    ),
    "a mount that was taken out": (
        lambda project: None,
        {"  ~/rsrl_ray/experiments: experiments\n": ""},
        "setup_commands[1]: ~/rsrl_ray/experiments/constraints.txt: no line of file_mounts brings it to the nodes; "
        "add one",
    ),
    "no key": (
        lambda project: None,
        KEY,
        "auth.ssh_private_key: ~/key.pem: No such file or directory; give a key that ssh can read, or none: Ray makes "
        "one",
    ),
    "a key that others read": (
        an_open_key,
        KEY,
        "auth.ssh_private_key: ~/key.pem: others may read it too, which ssh refuses; chmod 600 ~/key.pem",
    ),
}


@pytest.mark.parametrize("mistake", FILES)
def test_files_that_are_not_there_are_told(mistake: str, project: Path) -> None:
    make, changes, message = FILES[mistake]
    make(project)
    told = [said.partition(", ")[2] for said in changed(GCP, changes)]  # quicker than EC2's parameters
    assert told == [message.format(project=project)]


def test_a_role_that_ray_would_make_itself_is_told() -> None:
    (missing,) = changed(AWS, {"      IamInstanceProfile: {Name: rsrl-head}        #": "      #"})
    assert missing.endswith(
        "available_node_types.head.node_config.IamInstanceProfile: missing, and without it the "
        "node does not reach the bucket; give the role that experiments/aws_account.py makes"
    )


def test_what_only_rays_own_code_refuses_is_told_too() -> None:
    assert changed(GCP, {"  type: gcp": "  type: gpc"}) == ["line 18: Ray refuses it: Unsupported node provider: gpc"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster_name: [rsrl\nprovider: {}\n", "bad.yaml, line 2: not YAML ("),
        (
            "{name: paper, photos: photos.csv}",
            "bad.yaml: not a cluster file, which has a cluster_name and a provider; ",
        ),
        ("- cluster_name", "bad.yaml: not a cluster file"),
        (None, "bad.yaml: cannot be read"),
    ],
    ids=["no YAML", "an experiment", "a list", "nothing"],
)
def test_what_is_no_cluster_file_is_one_line(
    text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("bad.yaml").write_text(text)
    assert cli.main(["check", "bad.yaml"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"rsrl check: {message}")
