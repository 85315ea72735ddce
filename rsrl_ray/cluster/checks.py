"""What is wrong with a cluster file, by its lines."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsrl_ray.cluster.clouds import aws_mistakes, gcp_mistakes
from rsrl_ray.cluster.file import ClusterFile, Keys, Mistake, meant

_TO_CHANGE = {"my-bucket": "bucket", "my-project": "project"}
_SCHEMES = {"aws": "s3", "gcp": "gs"}
_CLOUDS = {"aws": aws_mistakes, "gcp": gcp_mistakes}
_KINDS = {
    "object": "settings, such as {name: value}",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
}
_REMOTE = re.compile(r"~/[\w./-]*\w")


def cluster_mistakes(file: ClusterFile) -> list[Mistake]:
    """Everything that is wrong with the file and shows without asking the cloud, by line.

    Paths are looked up as `ray up` does: from the folder in which it is run.
    """
    from rsrl_ray.sweep.ray_insides.cluster_file import refusal

    found = list(_against_schema(file))
    if not found:  # else the rest may be anything
        found += [*_node_types(file), *_buckets(file), *_key(file), *_mounts(file), *_paths_in_commands(file)]
        found += _CLOUDS.get(file.config["provider"]["type"], lambda _: [])(file)
    if not found and (reason := refusal(file.config)):
        found = [file.mistake((), f"Ray refuses it: {reason}")]
    return sorted([*found, *_left_as_in_the_example(file)], key=lambda mistake: mistake.line)


def _against_schema(file: ClusterFile) -> Iterator[Mistake]:
    from rsrl_ray.sweep.ray_insides.cluster_file import schema_errors

    for error in schema_errors(file.config):
        keys: Keys = tuple(error.absolute_path)
        rule: Any = error.validator_value
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            for name in error.instance.keys() - known.keys():
                yield file.mistake((*keys, name), f"Ray knows no such setting{meant(name, known)}")
        elif error.validator == "required":
            for name in set(rule) - error.instance.keys():
                yield file.mistake(keys, f"{name} is missing; cluster.yaml of the project has an example")
        elif error.validator == "type":
            yield file.mistake(keys, f"{error.instance!r}; give {_KINDS.get(str(rule), f'a {rule}')}")
        else:
            yield file.mistake(keys, error.message)


def _left_as_in_the_example(file: ClusterFile) -> Iterator[Mistake]:
    for keys, text in file.texts():
        for name, what in _TO_CHANGE.items():
            if name in text:
                yield file.mistake(keys, f"still {name} of the example; put in the name of your {what}")


def _node_types(file: ClusterFile) -> Iterator[Mistake]:
    types, head = file.node_types, file.head_type
    if not types:
        return
    if head not in types:
        yield file.mistake(("head_node_type",), f"{head!r} is none of available_node_types{meant(head, types)}")
    top = file.config.get("max_workers", 2)
    least = {name: node_type.get("min_workers", 0) for name, node_type in types.items()}
    for name, node_type in types.items():
        most = node_type.get("max_workers", top)
        if name != head and least[name] > most:
            keys = ("available_node_types", name, "min_workers")
            yield file.mistake(keys, f"{least[name]}, more than max_workers, {most}; lower it or raise max_workers")
            return
    if sum(least.values()) > top:
        yield file.mistake(
            ("max_workers",), f"{top}, less than min_workers of all node types, {sum(least.values())}; raise it"
        )


def _buckets(file: ClusterFile) -> Iterator[Mistake]:
    cloud = file.config["provider"]["type"]
    for bucket in file.buckets():
        scheme = _SCHEMES.get(cloud, bucket.scheme)
        if bucket.scheme != scheme:
            yield file.mistake(
                bucket.keys,
                f"{bucket.scheme}://{bucket.name} is of another cloud than provider.type {cloud}; give {scheme}://...",
            )


def _key(file: ClusterFile) -> Iterator[Mistake]:
    keys, path = ("auth", "ssh_private_key"), file.config.get("auth", {}).get("ssh_private_key")
    if path is None:
        return
    key = Path(path).expanduser()
    try:
        key.read_bytes()
    except OSError as error:
        yield file.mistake(keys, f"{path}: {error.strerror}; give a key that ssh can read, or none: Ray makes one")
        return
    if key.stat().st_mode & 0o077:
        yield file.mistake(keys, f"{path}: others may read it too, which ssh refuses; chmod 600 {path}")


def _mounts(file: ClusterFile) -> Iterator[Mistake]:
    for remote in file.config.get("file_mounts", {}).keys() - file.mounts.keys():
        yield file.mistake(("file_mounts", remote), "no text; give the path of what is copied there")
    for remote, local in file.mounts.items():
        if Path(local).expanduser().exists():
            continue
        if Path(local).name == "auth_token":
            todo = "make it, once: ray get-auth-token --generate"
        else:
            todo = f"put it into {Path.cwd()}, from where `ray up` copies, or delete the line if no node needs it"
        yield file.mistake(("file_mounts", remote), f"{local} is not there; {todo}")


def _paths_in_commands(file: ClusterFile) -> Iterator[Mistake]:
    """Commands that name files which no mount brings to the nodes."""
    mounts = file.mounts
    folders = {remote.rpartition("/")[0] for remote in mounts} - {"~", ""}
    for keys, text in file.texts():
        if not str(keys[0]).endswith("_commands"):
            continue
        for path in dict.fromkeys(_REMOTE.findall(text)):
            over = [remote for remote in mounts if f"{path}/".startswith(f"{remote.rstrip('/')}/")]
            if not over:
                if any(path.startswith(f"{folder}/") for folder in folders):
                    yield file.mistake(keys, f"{path}: no line of file_mounts brings it to the nodes; add one")
                continue
            local = Path(mounts[over[0]]).expanduser()
            here = local / path.removeprefix(over[0].rstrip("/")).lstrip("/")
            if local.exists() and not here.exists():
                yield file.mistake(keys, f"{path}: there is no {here} here to be copied; git checkout {here}")
