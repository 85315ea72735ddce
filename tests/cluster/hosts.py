"""Three hosts and a laptop on this machine, for trying `ray up` for real: Linux namespaces, an sshd each.

Every host has its own network, processes, host name, home, /tmp/ray and /dev/shm; the rest of the file system is this
machine's, and so is the virtual environment that the tests run in: the hosts find it in their home as if their set-up
had made it. The laptop has a network of its own, so that the ports it forwards are free.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = {"sshd": "openssh-server", "rsync": "rsync", "ip": "iproute2", "unshare": "util-linux", "tmux": "tmux"}


def lacking() -> str:
    """Why there can be no hosts here; empty where there can."""
    if sys.platform != "linux":
        return "Linux is needed"
    if os.geteuid() != 0:
        return "root is needed, which makes the hosts' networks"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None]
    if packages:
        return f"apt-get install {' '.join(packages)}"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "true"], capture_output=True)
    return tried.stderr.decode().strip() or ("" if tried.returncode == 0 else "namespaces are not allowed here")


@dataclass
class Hosts:
    """The hosts, by address; the first is the head."""

    folder: Path
    name: str  # of this set of hosts: part of every name in this machine's network
    subnet: str
    environment: dict[str, str]  # of every process on the hosts
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        """The ssh key that opens every host, as root."""
        return self.folder / "key"

    @property
    def addresses(self) -> list[str]:
        """Of the head and two workers."""
        return [f"{self.subnet}.{number}" for number in (2, 3, 4)]

    def home(self, address: str) -> Path:
        """A host's home."""
        return self.folder / f"home-{address}"

    def processes(self, address: str) -> list[str]:
        """The command lines of what runs on a host."""
        found = []
        pids = subprocess.run(["ip", "netns", "pids", self._net(address)], capture_output=True, text=True).stdout
        for pid in pids.split():
            with contextlib.suppress(OSError):
                found.append(Path("/proc", pid, "cmdline").read_text().replace("\0", " "))
        return found

    def kill(self, address: str) -> None:
        """End every process of a host at once, as a crash does."""
        process = self.running.pop(address)
        process.kill()  # its child is the first process of the host: the kernel ends all others with it
        process.wait()

    def on_laptop(self, *command: str) -> list[str]:
        """The command, as run on the laptop."""
        return ["ip", "netns", "exec", self._net(f"{self.subnet}.9"), *command]

    def start(self) -> None:
        """Make the network, then the hosts."""
        for name in ("key", "host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "link", "set", self.name, "up")
        self._network(f"{self.subnet}.9")
        for address in self.addresses:
            self._network(address)
            self._start_host(address)
        for address in self.addresses:
            self._wait_for_ssh(address)

    def stop(self) -> None:
        """End the hosts and take the network away, whatever is left of it."""
        for address in list(self.running):
            self.kill(address)
        for address in [f"{self.subnet}.9", *self.addresses]:
            for pid in subprocess.run(
                ["ip", "netns", "pids", self._net(address)], capture_output=True, text=True
            ).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "link", "del", self._net(address)], capture_output=True)
            subprocess.run(["ip", "netns", "del", self._net(address)], capture_output=True)
        subprocess.run(["ip", "link", "del", self.name], capture_output=True)

    def _net(self, address: str) -> str:
        return f"{self.name}-{address.rsplit('.', 1)[1]}"

    def _network(self, address: str) -> None:
        net = self._net(address)
        run("ip", "netns", "add", net)
        run("ip", "link", "add", net, "type", "veth", "peer", "name", "eth0", "netns", net)
        run("ip", "link", "set", net, "master", self.name, "up")
        run("ip", "-n", net, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", net, "link", "set", device, "up")
        run("ip", "-n", net, "route", "add", "default", "via", f"{self.subnet}.1")  # Ray asks which way is out

    def _start_host(self, address: str) -> None:
        home, etc = self.home(address), self.folder / f"etc-{address}"
        environment = home / "venv"
        for folder in (environment, etc):
            folder.mkdir(parents=True)
        for part in ("bin", "lib", "pyvenv.cfg"):
            (environment / part).symlink_to(Path(sys.prefix, part))
        installed = [(ROOT / name).read_text() for name in ("pyproject.toml", "experiments/constraints.txt")]
        (environment / "installed").write_text("".join(installed))  # so the set-up finds its work done
        own = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items()]
        (home / ".bashrc").write_text("".join(own))
        users = Path("/etc/passwd").read_text().splitlines()
        root = f"root:x:0:0:root:{home}:/bin/bash"
        (etc / "passwd").write_text("\n".join([root, *(user for user in users if not user.startswith("root:"))]) + "\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{address} {self._net(address)}\n")
        (etc / "resolv.conf").touch()
        sshd = f"{shutil.which('sshd', path='/usr/sbin:/sbin')} -D -e -h {shlex.quote(str(self.folder / 'host_key'))}"
        sshd += (
            f" -o AuthorizedKeysFile={shlex.quote(str(self.key))}.pub -o StrictModes=no -o UsePAM=no -o PidFile=none"
        )
        sshd += " -o PermitRootLogin=prohibit-password -o MaxStartups=100"
        script = f"""set -e
            hostname {self._net(address)}
            mkdir -p /tmp/ray /tmp/tmux-0 /run/sshd
            for place in /tmp/ray /tmp/tmux-0; do mount -t tmpfs -o mode=700 tmpfs $place; done
            mount -t tmpfs -o size=1g tmpfs /dev/shm
            for file in passwd hosts resolv.conf; do mount --bind {shlex.quote(str(etc))}/$file /etc/$file; done
            exec {sshd}"""
        command = [
            "unshare",
            "--mount",
            "--pid",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-c",
            script,
        ]
        with (self.folder / f"sshd-{address}.log").open("wb") as log:
            self.running[address] = subprocess.Popen(
                ["ip", "netns", "exec", self._net(address), *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _wait_for_ssh(self, address: str) -> None:
        deadline = time.monotonic() + 20
        test = self.on_laptop("bash", "-c", f"true < /dev/tcp/{address}/22")
        while subprocess.run(test, capture_output=True).returncode:
            if time.monotonic() > deadline or self.running[address].poll() is not None:
                raise RuntimeError((self.folder / f"sshd-{address}.log").read_text())
            time.sleep(0.1)


@contextlib.contextmanager
def three_hosts(folder: Path, environment: dict[str, str]) -> Iterator[Hosts]:
    """The hosts, taken away again whatever happens."""
    number = os.getpid() % 250
    hosts = Hosts(folder, f"rsrl{number}", f"10.83.{number}", environment)
    try:
        hosts.start()
        yield hosts
    finally:
        hosts.stop()


def run(*command: str) -> None:
    """Run a command that must not fail."""
    subprocess.run(command, check=True, capture_output=True, text=True)
