"""What was measured, as Markdown."""

import statistics

MIB = 1024 * 1024


def table(head, rows):
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}x" if theirs else "-"


def milliseconds(us):
    return f"{us / 1000:.2f}"


def mebibytes(count):
    return f"{count / MIB:.0f}"


def cpu_per_operation(median):
    """In microseconds; the warm-up's and the set-up's operations are in neither."""
    return f"{median['server_cpu_seconds'] * 1e6 / median['ops']:.0f}"


def pairs(results):
    """Cell by cell: its name, chainfire's medians and etcd's."""
    cells = {}
    for entry in results:
        cell = cells.setdefault((entry["workload"], entry["clients"]), {})
        cell[entry["system"]] = entry["median"]
    for (workload, clients), cell in cells.items():
        yield f"{workload} at {clients}", cell["chainfire"], cell["etcd"]


def conditions_line(conditions):
    return "; ".join(f"{name}: {value}" for name, value in conditions.items())


def speed_table(results):
    head = ["workload at clients", "chainfire ops/s", "etcd ops/s", "ratio", "chainfire p50 ms",
            "etcd p50 ms", "chainfire p99 ms", "etcd p99 ms", "p99 ratio"]
    rows = [
        [
            name, f"{ours['ops_per_second']:.0f}", f"{theirs['ops_per_second']:.0f}",
            ratio(ours["ops_per_second"], theirs["ops_per_second"]),
            milliseconds(ours["p50_us"]), milliseconds(theirs["p50_us"]),
            milliseconds(ours["p99_us"]), milliseconds(theirs["p99_us"]),
            ratio(ours["p99_us"], theirs["p99_us"]),
        ]
        for name, ours, theirs in pairs(results)
    ]
    return table(head, rows)


def cost_table(results):
    head = ["workload at clients"]
    for figure in ("server CPU s", "server CPU us/op", "server anonymous MiB", "client CPU s"):
        head += [f"chainfire {figure}", f"etcd {figure}"]
    rows = []
    for name, ours, theirs in pairs(results):
        row = [name]
        for figure in (
            lambda median: f"{median['server_cpu_seconds']:.2f}",
            cpu_per_operation,
            lambda median: mebibytes(median["server_anonymous_bytes"]),
            lambda median: f"{median['client_cpu_seconds']:.2f}",
        ):
            row += [figure(ours), figure(theirs)]
        rows.append(row)
    return table(head, rows)


def errors_line(results):
    """Which measurements had errors: their figures are those of the rest."""
    faulty = [
        f"{entry['system']}, {entry['workload']}, {entry['clients']} clients: "
        f"{sum(figures['errors'] for figures in entry['rounds'])}"
        for entry in results
        if any(figures["errors"] for figures in entry["rounds"])
    ]
    return "Errors: " + ("; ".join(faulty) if faulty else "none.")


def compare_report(conditions, results):
    return "\n\n".join([
        conditions_line(conditions),
        "Medians of the rounds; a ratio is chainfire's figure over etcd's.",
        speed_table(results),
        "CPU seconds of all servers together while the load ran, and private memory (anonymous) "
        "of all servers together at its end:",
        cost_table(results),
        errors_line(results),
    ])


def by_node(memory, kind):
    return ", ".join(mebibytes(count) for count in memory[kind])


def large_report(conditions, results):
    ours, theirs = results
    figures = [
        ("load, keys/s", lambda entry: f"{entry['load']['ops_per_second']:.0f}"),
        ("load, p99 ms", lambda entry: milliseconds(entry["load"]["p99_us"])),
        ("load, server CPU s", lambda entry: f"{entry['load']['server_cpu_seconds']:.1f}"),
        ("anonymous MiB a node, loaded",
         lambda entry: by_node(entry["load"]["server_memory_bytes"], "anonymous")),
        ("resident MiB a node, loaded",
         lambda entry: by_node(entry["load"]["server_memory_bytes"], "resident")),
        ("disk MiB, all nodes", lambda entry: mebibytes(entry["disk_bytes"])),
        ("restart to ready, s", lambda entry: f"{entry['restart_seconds']:.2f}"),
        ("each restart, s",
         lambda entry: ", ".join(f"{again['seconds']:.2f}" for again in entry["restarts"])),
        ("anonymous MiB a node, restarted",
         lambda entry: by_node(entry["restarts"][-1]["server_memory_bytes"], "anonymous")),
        ("resident MiB a node, restarted",
         lambda entry: by_node(entry["restarts"][-1]["server_memory_bytes"], "resident")),
    ]
    rows = [[name, figure(ours), figure(theirs)] for name, figure in figures]
    return conditions_line(conditions) + "\n\n" + table(["", "chainfire", "etcd"], rows)


def joins_report(conditions, results):
    backups = [
        ("snapshot save, s", lambda entry: entry["backup_seconds"], "{:.2f}"),
        ("snapshot file, MiB", lambda entry: entry["backups"][-1]["bytes"] / MIB, "{:.0f}"),
    ]
    return "\n\n".join([
        conditions_line(conditions),
        "Medians of the rounds; a ratio is chainfire's figure over etcd's. \"Beside it\" is a load "
        "that begins with the join and lasts as long as the one before took; \"afterwards\" the "
        "same with the new member in the cluster.",
        compared(results, backups),
        "Beside as many puts as the clients can make, each after its last was answered:",
        compared(results, join_figures("joins")),
        f"Beside {conditions['rate']} puts a second, due at fixed times; p99 counts from when each "
        "was due:",
        compared(results, join_figures("paced")),
    ])


def join_figures(kind):
    """The rows of the joins of one kind: name, figure of a system's entry, form."""
    def median(of):
        return lambda entry: statistics.median(of(joined) for joined in entry[kind])

    def grown(joined):
        return (joined["member_peak_bytes"] - joined["member_before_bytes"]) / MIB

    def puts(when):
        return median(lambda joined: joined[when]["ops_per_second"])

    def p99(when):
        return median(lambda joined: joined[when]["p99_us"] / 1000)

    def beside(when, figure):
        return median(lambda joined: joined["beside"][figure] / joined[when][figure])

    return [
        ("add and promote, s", median(lambda joined: joined["seconds"]), "{:.2f}"),
        ("failed puts beside it",
         lambda entry: sum(joined["beside"]["errors"] for joined in entry[kind]), "{}"),
        ("puts/s before", puts("before"), "{:.0f}"),
        ("puts/s beside it", puts("beside"), "{:.0f}"),
        ("puts/s afterwards", puts("after"), "{:.0f}"),
        ("beside it / before", beside("before", "ops_per_second"), "{:.2f}"),
        ("beside it / afterwards", beside("after", "ops_per_second"), "{:.2f}"),
        ("put p99 before, ms", p99("before"), "{:.2f}"),
        ("put p99 beside it, ms", p99("beside"), "{:.2f}"),
        ("put p99 afterwards, ms", p99("after"), "{:.2f}"),
        ("beside it / before", beside("before", "p99_us"), "{:.2f}"),
        ("beside it / afterwards", beside("after", "p99_us"), "{:.2f}"),
        ("anonymous MiB, the member grew by", median(grown), "{:.0f}"),
        ("anonymous MiB, the member before",
         median(lambda joined: joined["member_before_bytes"] / MIB), "{:.0f}"),
        ("anonymous MiB, the new node at most",
         median(lambda joined: joined["newcomer_peak_bytes"] / MIB), "{:.0f}"),
    ]


def compared(results, figures):
    """A table of both systems' figures and their ratios."""
    rows = []
    for name, figure, form in figures:
        values = [figure(entry) for entry in results]
        rows.append([name, *(form.format(value) for value in values), ratio(*values)])
    return table(["", "chainfire", "etcd", "ratio"], rows)
