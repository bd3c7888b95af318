"""Backups and joins: how long they take with many keys, and what writers notice of a join."""

import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import time

from measure import connections, measure, run_load, say
from servers import SYSTEMS, CompareError, Node, die_with_parent, environment, free_addresses

JOIN_TIMEOUT_S = 600
LEAVE_TIMEOUT_S = 60
# How often memory is looked at, and etcd asked whether its learner can be promoted by now.
LOOK_EVERY_S = 0.1
# The shortest load that is run beside a join.
BESIDE_SECONDS_MIN = 3


def joins(arguments, directory, tools):
    """One system after the other: the keys, `--rounds` backups, `--rounds` joins beside as much load
    as the clients can make, and as many beside `--rate` puts a second."""
    results = []
    for system in SYSTEMS:
        with system(directory, arguments.nodes, tools) as cluster:
            say(f"{system.system}: storing {arguments.total} keys")
            load = load_options(arguments, system)
            loaded = measure(cluster, ["load"], [*load, "--total", arguments.total])
            if loaded["errors"]:
                raise CompareError(f"{system.system}: {loaded['errors']} keys were not stored")
            backups = [backup(cluster, directory, load) for _ in range(arguments.rounds)]
            full = join_rounds(arguments, cluster, load)
            say(f"{system.system}: now beside {arguments.rate} puts a second")
            paced = join_rounds(arguments, cluster, [*load, "--rate", arguments.rate])
        results.append({
            "system": system.system, "backups": backups, "joins": full, "paced": paced,
            "backup_seconds": statistics.median(entry["seconds"] for entry in backups),
        })
    return results


def load_options(arguments, system):
    return [
        "--clients", arguments.clients[0], "--conns", connections(arguments, system),
        "--key-size", arguments.key_size, "--value-size", arguments.value_size,
    ]


def join_rounds(arguments, cluster, load):
    """The first join only tells how long the load beside the others has to last, so that its
    figures are those of the join and of little else."""
    lasts = join_under_load(arguments, cluster, load, BESIDE_SECONDS_MIN)["seconds"]
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append(join_under_load(arguments, cluster, load, lasts))
        lasts = rounds[-1]["seconds"]
    return rounds


def join_under_load(arguments, cluster, load, lasts):
    puts = ["put", *map(str, load), "--key-space", str(arguments.total)]
    before = run_load(cluster, puts[0], [*puts[1:], "--seconds", arguments.seconds])
    seconds = max(BESIDE_SECONDS_MIN, round(lasts))
    generator = start_load(cluster, puts[0], [*puts[1:], "--seconds", str(seconds)])
    try:
        newcomer = Newcomer(cluster)
        try:
            joined = newcomer.join()
            beside = finish_load(generator)
            after = run_load(cluster, puts[0], [*puts[1:], "--seconds", arguments.seconds])
            newcomer.leave()
        finally:
            newcomer.end()
    finally:
        generator.kill()
        generator.wait()
    say(f"{cluster.system}: joined after {joined['seconds']:.2f} s; writes before "
        f"{before['ops_per_second']:.0f}/s p99 {before['p99_us']} us, beside it "
        f"{beside['ops_per_second']:.0f}/s p99 {beside['p99_us']} us, {beside['errors']} failed; "
        f"after {after['ops_per_second']:.0f}/s p99 {after['p99_us']} us")
    return {
        **joined, "load_seconds": seconds, "before": before, "beside": beside, "after": after}


def start_load(cluster, workload, options):
    return subprocess.Popen(
        cluster.load_command(workload, options), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        start_new_session=True, preexec_fn=die_with_parent)


def finish_load(generator):
    output, complaints = generator.communicate()
    if not output:
        raise CompareError(f"the load beside the join failed: {complaints.strip()}")
    figures = json.loads(output)
    if figures["errors"]:
        say(f"{figures['errors']} errors: {complaints.strip()}")
    return figures


def backup(cluster, directory, load):
    """`snapshot save`, online, from one node to a file on the same disk, after a second of puts:
    what was written before is not there to be sent again."""
    run_load(cluster, "put", [*load, "--key-space", "1000", "--seconds", "1"])
    path = os.path.join(directory, f"{cluster.system}.snapshot")
    endpoint = cluster.nodes[0].client
    begun = time.monotonic()
    tool(cluster, endpoint, "snapshot", "save", path)
    seconds = time.monotonic() - begun
    size = os.stat(path).st_size
    os.unlink(path)
    say(f"{cluster.system}: saved {size / 1e6:.0f} MB in {seconds:.2f} s")
    return {"seconds": seconds, "bytes": size}


def tool(cluster, endpoints, *arguments):
    """Runs the system's command line to its end. Answers its output."""
    output, complaint = attempt(cluster, endpoints, *arguments)
    if output is None:
        raise CompareError(f"{' '.join(arguments)} failed: {complaint}")
    return output


def attempt(cluster, endpoints, *arguments):
    """The same, but that it may fail: answers its output, none when it did, and its complaint."""
    if cluster.system == "chainfire":
        command = [cluster.binary, "--timeout", "60s", "--endpoints", endpoints,
                   "--credentials", cluster.credentials, *arguments]
    else:
        command = [cluster.tools["etcdctl"], "--endpoints", endpoints, *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=environment() | {"ETCDCTL_API": "3"}, start_new_session=True,
        preexec_fn=die_with_parent)
    return done.stdout if done.returncode == 0 else None, done.stderr.strip()


class Newcomer:
    """A node that joins a cluster that is up, and leaves it again with everything it has."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.node = Node("x", cluster.directory, free_addresses(3))
        self.member = None
        self.peaks = {}

    def join(self):
        """Starts the node and waits until it votes. Answers the seconds from the first command,
        and the private memory of the node that leads and of the new one: before, and at most."""
        leads = self.cluster.nodes[0]
        before = private_bytes(leads)
        begun = time.monotonic()
        if self.cluster.system == "chainfire":
            self.join_chainfire(begun + JOIN_TIMEOUT_S)
        else:
            self.join_etcd(begun + JOIN_TIMEOUT_S)
        seconds = time.monotonic() - begun
        self.look()
        return {
            "seconds": seconds, "member_before_bytes": before,
            "member_peak_bytes": self.peaks[leads.name],
            "newcomer_peak_bytes": self.peaks[self.node.name],
            "newcomer_after_bytes": private_bytes(self.node),
        }

    def join_chainfire(self, until):
        """One command. It prints `ready` when it votes."""
        command = self.cluster.command(self.node)
        founders = command.index("--initial-cluster")
        command[founders:founders + 2] = ["--join", self.cluster.endpoints]
        self.node.start(command)
        self.member = self.node.name
        output = self.node.process.stdout.fileno()
        while not select.select([output], [], [], LOOK_EVERY_S)[0]:
            self.look()
            if time.monotonic() > until:
                raise CompareError(f"chainfire did not join in {JOIN_TIMEOUT_S} s")
        if not os.read(output, 4096).startswith(b"ready"):
            self.node.process.wait()
            self.node.check_alive()

    def join_etcd(self, until):
        """A learner is announced, started, and promoted as soon as that is not refused."""
        endpoints = self.cluster.endpoints
        peer = f"http://{self.node.peer}"
        added = tool(self.cluster, endpoints, "-w", "json", "member", "add", self.node.name,
                     "--learner", f"--peer-urls={peer}")
        self.member = f"{json.loads(added)['member']['ID']:x}"
        command = self.cluster.command(self.node)
        members = command.index("--initial-cluster") + 1
        command[members] += f",{self.node.name}={peer}"
        self.node.start([*command, "--initial-cluster-state", "existing"])
        while True:
            promoted, complaint = attempt(
                self.cluster, endpoints, "member", "promote", self.member)
            if promoted is not None:
                return
            self.look()
            if time.monotonic() > until:
                raise CompareError(f"etcd's learner is still not promoted: {complaint}")
            time.sleep(LOOK_EVERY_S)

    def look(self):
        """Keeps the most memory that either end was seen with."""
        for node in (self.cluster.nodes[0], self.node):
            node.check_alive()
            self.peaks[node.name] = max(self.peaks.get(node.name, 0), private_bytes(node))

    def leave(self):
        """It is removed. etcd refuses that until the new member has been there for some seconds."""
        until = time.monotonic() + LEAVE_TIMEOUT_S
        while True:
            removed, complaint = attempt(
                self.cluster, self.cluster.endpoints, "member", "remove", self.member)
            # One that was removed and told so too late is not found the next time.
            if removed is not None or "not found" in complaint.lower():
                return
            if time.monotonic() > until:
                raise CompareError(f"{self.cluster.system} does not remove the node: {complaint}")
            time.sleep(LOOK_EVERY_S)

    def end(self):
        self.node.signal(signal.SIGKILL)
        self.node.reap(0)
        shutil.rmtree(self.node.data, ignore_errors=True)


def private_bytes(node):
    """Heaps and stacks, by the cheaper of the kernel's two accounts."""
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise CompareError(f"node {node.name} has no memory")
