"""Clusters of servers on loopback: started, asked how they are, stopped, removed.

A cluster is a directory with one directory a node below it, and a process a node. Every process is
started in a session of its own, so that Ctrl-C reaches this program alone, and dies with it
(PR_SET_PDEATHSIG), however it ends. Both systems run with their defaults; what is set is named in
the README.
"""

import ctypes
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import time

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30
NODE_NAMES = "abcde"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# Below Linux's range for outgoing connections, so that none of these takes a port chosen here.
PORTS = range(20_000, 32_000)


class CompareError(Exception):
    """What ends the comparison, in one line or with the end of a log."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def environment():
    """Ours without what would configure the servers or clients behind our back."""
    def is_ours(name):
        return not name.startswith(("CHAINFIRE", "ETCD")) or name == "ETCD_UNSUPPORTED_ARCH"
    return {name: value for name, value in os.environ.items() if is_ours(name)}


def free_addresses(count):
    """Addresses on which nobody listens. Held together until all are found: they differ."""
    held = []
    try:
        for port in random.sample(PORTS, len(PORTS)):
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            if len(held) == count:
                return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in held]
        raise CompareError("not enough free ports on 127.0.0.1")
    finally:
        for probe in held:
            probe.close()


class Node:
    """One server process and where it lives."""

    def __init__(self, name, directory, addresses):
        self.name = name
        self.data = os.path.join(directory, name)
        self.log = os.path.join(directory, f"{name}.log")
        self.client, self.peer, self.http = addresses
        self.process = None

    def start(self, command):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=environment(), start_new_session=True, preexec_fn=die_with_parent)

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def reap(self, timeout_s):
        """Waits for the end of the process; one that is late is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def cpu_seconds(self):
        """User and system time of the process so far, all threads."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory_bytes(self):
        """What the kernel counts in smaps_rollup: `anonymous` (heaps and stacks, which nobody
        else can use) and `resident` (with the pages of mapped files, which are page cache)."""
        figures = {}
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="utf-8") as rollup:
            for line in rollup:
                name, _, value = line.partition(":")
                if value.strip().endswith("kB"):
                    figures[name] = int(value.split()[0]) * 1024
        return {"anonymous": figures["Anonymous"], "resident": figures["Rss"]}

    def check_alive(self):
        if self.process.poll() is None:
            return
        with open(self.log, encoding="utf-8", errors="replace") as log:
            end = "".join(log.readlines()[-20:])
        code = self.process.returncode
        raise CompareError(f"node {self.name} ended with code {code}; its log ends so:\n{end}")


class Cluster:
    """Some nodes of one system. A context: left, its processes and data are gone."""

    def __init__(self, parent, node_count):
        addresses = free_addresses(3 * node_count)
        self.directory = os.path.join(parent, self.system)
        os.mkdir(self.directory)
        self.nodes = [
            Node(NODE_NAMES[index], self.directory, addresses[3 * index:3 * index + 3])
            for index in range(node_count)
        ]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    @property
    def endpoints(self):
        return ",".join(node.client for node in self.nodes)

    def start(self):
        """Starts every node. Answers the seconds until all are ready."""
        begun = time.monotonic()
        for node in self.nodes:
            node.start(self.command(node))
        self.wait_until_ready(begun + START_TIMEOUT_S)
        return time.monotonic() - begun

    def stop(self, number):
        """Sends every node the signal, and waits for their ends."""
        for node in self.nodes:
            node.signal(number)
        for node in self.nodes:
            node.reap(STOP_TIMEOUT_S)

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def check_alive(self):
        for node in self.nodes:
            node.check_alive()

    def cpu_seconds(self):
        return sum(node.cpu_seconds() for node in self.nodes)

    def memory_bytes(self):
        """By kind, one figure a node."""
        figures = [node.memory_bytes() for node in self.nodes]
        return {kind: [figure[kind] for figure in figures] for kind in figures[0]}

    def disk_bytes(self):
        """What the data directories take on the disk."""
        total = 0
        for node in self.nodes:
            for folder, _, files in os.walk(node.data):
                total += sum(os.lstat(os.path.join(folder, file)).st_blocks * 512 for file in files)
        return total


class Chainfire(Cluster):
    system = "chainfire"

    def __init__(self, parent, node_count, tools):
        self.binary = tools["chainfire"]
        super().__init__(parent, node_count)
        subprocess.run(
            [self.binary, "keygen", "--out", self.directory], check=True,
            stdout=subprocess.DEVNULL, env=environment())
        self.cluster_key = os.path.join(self.directory, "cluster-key.toml")
        self.credentials = os.path.join(self.directory, "root-credentials.toml")

    def command(self, node):
        members = ",".join(f"{other.name}={other.peer}" for other in self.nodes)
        return [
            self.binary, "serve", "--name", node.name, "--data-dir", node.data,
            "--listen-client", node.client, "--listen-peer", node.peer,
            "--listen-http", node.http, "--initial-cluster", members,
            "--cluster-key", self.cluster_key,
        ]

    def wait_until_ready(self, until):
        """Each node prints one line that starts with `ready`, once it has answered a read."""
        waiting = {node.process.stdout.fileno(): node for node in self.nodes}
        while waiting:
            left = until - time.monotonic()
            if left <= 0:
                names = ", ".join(node.name for node in waiting.values())
                raise CompareError(f"not ready after {START_TIMEOUT_S} s: chainfire {names}")
            for descriptor in select.select(list(waiting), [], [], left)[0]:
                if os.read(descriptor, 4096).startswith(b"ready"):
                    del waiting[descriptor]
                else:
                    waiting[descriptor].process.wait(STOP_TIMEOUT_S)
                    waiting[descriptor].check_alive()

    def load_command(self, workload, options):
        return [
            self.binary, "bench", workload, "-o", "json", "--endpoints", self.endpoints,
            "--credentials", self.credentials, *options,
        ]


class Etcd(Cluster):
    system = "etcd"

    def __init__(self, parent, node_count, tools):
        self.binary, self.load, self.tools = tools["etcd"], tools["etcd_load"], tools
        super().__init__(parent, node_count)

    def command(self, node):
        members = ",".join(f"{other.name}=http://{other.peer}" for other in self.nodes)
        client, peer = f"http://{node.client}", f"http://{node.peer}"
        return [
            self.binary, "--name", node.name, "--data-dir", node.data,
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", members, "--quota-backend-bytes", str(8 << 30),
        ]

    def wait_until_ready(self, until):
        """Each node answers a linearizable read."""
        seconds = str(max(1, int(until - time.monotonic())))
        command = [self.load, "ready", "--endpoints", self.endpoints, "--seconds", seconds]
        waited = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env=environment(), start_new_session=True, preexec_fn=die_with_parent)
        if waited.returncode != 0:
            self.check_alive()
            raise CompareError(waited.stderr.strip())

    def load_command(self, workload, options):
        return [self.load, workload, "--endpoints", self.endpoints, *options]


SYSTEMS = (Chainfire, Etcd)
