"""`rsrl check cluster.yaml`: what is wrong with a cluster file, told before `ray up` asks the cloud."""

from collections.abc import Iterator
from pathlib import Path

from rsrl_ray.cli.cluster_clouds import aws_mistakes, gcp_mistakes
from rsrl_ray.cli.cluster_file import ClusterFile, Keys, Mistake, against_schema, read_cluster_file

_EXAMPLES = {"my-bucket": "bucket", "my-project": "project"}
_CLOUDS = {"aws": aws_mistakes, "gcp": gcp_mistakes}


def check_cluster(path: Path) -> int:
    """Print what is wrong with a cluster file; 1 where anything is. Raises ValueError where it is no such file."""
    from rsrl_ray.terminal import Terminal, cell

    mistakes = cluster_mistakes(read_cluster_file(path))
    shown = Terminal()
    shown.show(cell(path, "bold"))
    for mistake in mistakes:
        shown.show(cell(mistake, "red"))
    if mistakes:
        shown.said(f"{len(mistakes)} to mend before `ray up`")
        return 1
    shown.said("nothing wrong that shows from here; what is in the account only `ray up` sees")
    return 0


def cluster_mistakes(file: ClusterFile) -> list[Mistake]:
    """Everything that is wrong with the file and shows without asking the cloud, by line.

    Paths are looked up as `ray up` does: from the folder in which it is run.
    """
    from rsrl_ray.sweep.ray_insides import refusal, schema_errors

    found = list(against_schema(file, (), schema_errors(file.config), "Ray"))
    if not found:  # else the rest may be anything
        found += [*_files(file), *_CLOUDS.get(file.config["provider"]["type"], lambda _: [])(file)]
        if reason := refusal(file.config):
            found.append(file.mistake((), f"Ray refuses it: {reason}"))
    return sorted([*found, *_left_as_in_the_example(file)], key=lambda mistake: mistake.line)


def _left_as_in_the_example(file: ClusterFile) -> Iterator[Mistake]:
    for keys, text in file.texts():
        for name, what in _EXAMPLES.items():
            if name in text:
                yield file.mistake(keys, f"still {name} of the example; put in the name of your {what}")


def _files(file: ClusterFile) -> Iterator[Mistake]:
    """What `ray up` copies, and the key by which it does."""
    needed: dict[Keys, str] = {("file_mounts", remote): local for remote, local in file.mounts.items()}
    if key := file.config.get("auth", {}).get("ssh_private_key"):
        needed["auth", "ssh_private_key"] = key
    for keys, path in needed.items():
        if Path(path).expanduser().exists():
            continue
        todo = f"put it into {Path.cwd()}, from where `ray up` copies, or delete the line where no node needs it"
        if Path(path).name == "auth_token":
            todo = "make it, once: ray get-auth-token --generate"
        elif keys[0] == "auth":
            todo = "give a key that ssh can read, or none: Ray makes one"
        yield file.mistake(keys, f"{path} is not there; {todo}")
