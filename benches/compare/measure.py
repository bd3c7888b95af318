"""One measurement: a load against a cluster that is up, and what it cost the servers."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time

from servers import SYSTEMS, CompareError, die_with_parent, environment

# By name: what the load generators are told.
WORKLOADS = {
    "put": ["put"],
    "get": ["get"],
    "serializable get": ["get", "--serializable"],
}


def say(line):
    print(line, file=sys.stderr, flush=True)


def run_load(cluster, workload, options):
    """Runs the load generator to its end. Answers its figures, with its own CPU seconds."""
    command = cluster.load_command(workload, [str(option) for option in options])
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(), start_new_session=True, preexec_fn=die_with_parent)
    before = os.times()
    try:
        output, complaints = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    after = os.times()
    cluster.check_alive()
    if process.returncode != 0:
        raise CompareError(f"{' '.join(command)} failed: {complaints.strip()}")
    figures = json.loads(output)
    if figures["errors"]:
        say(f"{figures['errors']} errors: {complaints.strip()}")
    spent = after.children_user - before.children_user
    figures["client_cpu_seconds"] = spent + after.children_system - before.children_system
    return figures


def measure(cluster, workload, options):
    """A load, what the servers' processes spent on it, and the memory they have at its end."""
    cpu_before = cluster.cpu_seconds()
    figures = run_load(cluster, workload[0], [*workload[1:], *options])
    figures["server_cpu_seconds"] = cluster.cpu_seconds() - cpu_before
    figures["server_memory_bytes"] = cluster.memory_bytes()
    return figures


def connections(arguments, system):
    return getattr(arguments, f"{system.system}_conns")


def compare(arguments, directory, tools):
    """Every workload at every number of clients, in interleaved rounds, each on a new cluster that
    has the machine for itself. Answers one entry a cell and system, with every round in it."""
    cells = [(name, clients) for name in arguments.workloads for clients in arguments.clients]
    rounds = {(*cell, system.system): [] for cell in cells for system in SYSTEMS}
    for number in range(1, arguments.rounds + 1):
        for name, clients in cells:
            for system in SYSTEMS:
                figures = measure_cell(arguments, directory, tools, system, name, clients)
                rounds[name, clients, system.system].append(figures)
                say(f"round {number}: {name} at {clients}: {system.system} "
                    f"{figures['ops_per_second']:.0f}/s p99 {figures['p99_us']} us")
    return [
        {"workload": name, "clients": clients, "system": system,
         "median": medians(entries), "rounds": entries}
        for (name, clients, system), entries in rounds.items()
    ]


def measure_cell(arguments, directory, tools, system, name, clients):
    options = [
        "--clients", clients, "--conns", connections(arguments, system),
        "--key-space", arguments.key_space, "--key-size", arguments.key_size,
        "--value-size", arguments.value_size,
    ]
    workload = WORKLOADS[name]
    with system(directory, arguments.nodes, tools) as cluster:
        # Stores the keys to read, too: the measurement finds them there.
        run_load(cluster, workload[0], [*workload[1:], *options, "--seconds", arguments.warmup])
        return measure(cluster, workload, [*options, "--seconds", arguments.seconds])


def medians(entries):
    """The median of each figure over the rounds. Memory is first summed over the nodes."""
    names = [name for name, value in entries[0].items() if isinstance(value, (int, float))]
    result = {name: statistics.median(entry[name] for entry in entries) for name in names}
    for kind in entries[0]["server_memory_bytes"]:
        sums = [sum(entry["server_memory_bytes"][kind]) for entry in entries]
        result[f"server_{kind}_bytes"] = statistics.median(sums)
    return result


def large(arguments, directory, tools):
    """Many keys of 1 KiB: the load, the memory after it, and how soon all nodes are ready again
    after they were stopped. One system after the other."""
    results = []
    for system in SYSTEMS:
        options = [
            "--total", arguments.total, "--key-size", arguments.key_size,
            "--value-size", arguments.value_size, "--clients", max(arguments.clients),
            "--conns", connections(arguments, system),
        ]
        with system(directory, arguments.nodes, tools) as cluster:
            say(f"{system.system}: storing {arguments.total} keys")
            loaded = measure(cluster, ["load"], options)
            if loaded["errors"]:
                raise CompareError(f"{system.system}: {loaded['errors']} keys were not stored")
            disk = cluster.disk_bytes()
            restarts = [restart(arguments, cluster) for _ in range(arguments.rounds)]
        results.append({
            "system": system.system, "load": loaded, "disk_bytes": disk, "restarts": restarts,
            "restart_seconds": statistics.median(entry["seconds"] for entry in restarts),
        })
    return results


def restart(arguments, cluster):
    """Stops all nodes at once, starts them again, and looks at their memory once they serve."""
    begun = time.monotonic()
    cluster.stop(signal.SIGTERM if arguments.stop == "term" else signal.SIGKILL)
    stopped = time.monotonic() - begun
    seconds = cluster.start()
    say(f"{cluster.system}: ready again after {seconds:.2f} s (stopping took {stopped:.2f} s)")
    return {
        "seconds": seconds, "stop_seconds": stopped,
        "server_memory_bytes": cluster.memory_bytes(),
    }
