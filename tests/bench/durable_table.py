"""Prints the table of tests/bench/durable.sh from the JSON files of its runs.

Usage: durable_table.py FOLDER, with LOAD.BROKER.ROUND.json and `restart` in it.
"""

import json
import pathlib
import statistics
import sys

BROKERS = ("stock", "memory", "durable")
FAULTS = ("lost", "duplicated", "reordered", "foreign", "refused", "given_up", "disconnected")


def read(folder):
    """All reports: (load, broker) to a list of rounds, each a list of reports."""
    runs = {}
    for path in sorted(folder.glob("*.json")):
        load, broker, _round, _ = path.name.split(".")
        runs.setdefault((load, broker), []).append(json.loads(path.read_text())["reports"])
    return runs


def per_second(count):
    return lambda report: report[count] / report["seconds"]


def per_million(report):
    if "broker_cpu_s" not in report:
        return None
    return report["broker_cpu_s"] * 1e6 / (report["delivered"] or report["published"])


def written_each(report):
    if "broker_written" not in report:
        return None
    return report["broker_written"] / (report["delivered"] or report["published"])


def p99_us(report):
    return report["latency_us"]["p99"]


def rss_mib(report):
    return report["rss"] / 2**20 if "rss" in report else None


def median(runs, load, broker, part, value):
    """The median over the rounds; nothing where there are none."""
    found = [
        value(report)
        for reports in runs.get((load, broker), [])
        for report in reports
        if report["part"] == part
    ]
    found = [each for each in found if each is not None]
    return statistics.median(found) if found else None


def faults(runs, load, part):
    told = []
    for broker in BROKERS:
        for fault in FAULTS:
            reports = [r for reports in runs.get((load, broker), []) for r in reports]
            count = sum(r[fault] for r in reports if r["part"] == part)
            if count:
                told.append(f"{broker}: {fault} {count}")
    return ", ".join(told)


def show(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# Name, unit, load, part, value, the broker that durable is compared with, the goal.
ROWS = [
    ("offline queue, window 100, fill", "messages/s", "offline", "offline-fill",
     per_second("published"), "stock", "≥ 1"),
    ("the same", "CPU s/M", "offline", "offline-fill", per_million, "stock", ""),
    ("the same", "bytes written each", "offline", "offline-fill", written_each, None, ""),
    ("the same, RSS when full", "MiB", "offline", "offline-fill", rss_mib, "stock", ""),
    ("offline queue, window 100, drain", "messages/s", "offline", "offline-drain",
     per_second("delivered"), "stock", "≥ 3"),
    ("the same", "CPU s/M", "offline", "offline-drain", per_million, "stock", ""),
    ("the same", "bytes written each", "offline", "offline-drain", written_each, None, ""),
    ("offline queue, window 20, drain", "messages/s", "offline-20", "offline-drain",
     per_second("delivered"), "stock", ""),
    ("the same", "CPU s/M", "offline-20", "offline-drain", per_million, "stock", ""),
    ("offline queue, QoS 2, fill", "messages/s", "offline2", "offline-fill",
     per_second("published"), "stock", ""),
    ("offline queue, QoS 2, drain", "messages/s", "offline2", "offline-drain",
     per_second("delivered"), "stock", ""),
    ("50 pairs online, QoS 1, persistent", "CPU s/M", "pairs-lasting", "pairs", per_million,
     "stock", "≤ 0.25"),
    ("the same", "messages/s", "pairs-lasting", "pairs", per_second("delivered"), "stock", ""),
    ("the same", "p99 µs", "pairs-lasting", "pairs", p99_us, "stock", ""),
    ("the same", "bytes written each", "pairs-lasting", "pairs", written_each, None, ""),
    ("the same, window 100", "CPU s/M", "pairs-lasting-100", "pairs", per_million, "stock", ""),
    ("50 pairs, QoS 1, nothing persistent", "CPU s/M", "pairs", "pairs", per_million, "memory",
     "≤ 1.03"),
    ("one in flight, subscriber away", "messages/s", "single-away", "pingpong",
     per_second("published"), "disk", "≥ 0.7"),
    ("the same", "p99 µs", "single-away", "pingpong", p99_us, "disk", ""),
    ("one in flight, subscriber online", "messages/s", "single-online", "pingpong",
     per_second("published"), "disk", "≥ 0.7"),
]


def row(runs, name, unit, load, part, value, base, goal):
    cells = {b: median(runs, load, b, part, value) for b in BROKERS}
    cells["disk"] = median(runs, "disk", "disk", "disk", value) if base == "disk" else None
    ratio = None
    if base and cells[base] and cells["durable"] is not None:
        ratio = cells["durable"] / cells[base]
    words = [name, unit, *(show(cells[b]) for b in (*BROKERS, "disk"))]
    words += [f"{show(ratio)} × {base}" if ratio is not None else "-", goal]
    return words + [faults(runs, load, part)]


def churn_rows(runs):
    """What the store takes when the queue is full, and after it was drained."""
    reports = [r for reports in runs.get(("churn", "durable"), []) for r in reports]
    rows = []
    for part, name in (("offline-fill", "full"), ("offline-drain", "drained")):
        found = [r for r in reports if r["part"] == part and "disk" in r]
        if not found:
            continue
        live = found[0]["items"] * found[0]["size"] if part == "offline-fill" else 0
        for what in ("apparent", "allocated"):
            sizes = [r["disk"][what] / 2**20 for r in found]
            text = f"first {sizes[0]:.1f}, greatest {max(sizes):.1f}, last {sizes[-1]:.1f}"
            goal = f"≤ 2 × {live / 2**20:.1f} + floor"
            name_of = f"on disk, {len(sizes)} times {name}, {what}"
            rows.append([name_of, "MiB", "", "", text, "", "-", goal, ""])
    return rows


def restart_rows(folder):
    path = folder / "restart"
    goals = {"retained": "≤ 3000", "sessions": "≤ 2000"}
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        kind, broker, items, signal, ms, empty, filled, after, disk = line.split()
        each = [(int(rss) - int(empty)) * 1024 / int(items) for rss in (filled, after)]
        cells = {"stock": "", "durable": ""}
        for name, unit, text, goal in (
            (f"start with {items} {kind} after SIG{signal}", "ms", ms, goals[kind]),
            ("the same, memory, filled / restarted", "bytes each", "{:.0f} / {:.0f}".format(*each),
             "≤ 1024" if kind == "sessions" else ""),
            ("the same, on disk", "MiB", f"{int(disk) / 1024:.1f}", ""),
        ):
            cells[broker] = text
            rows.append([name, unit, cells["stock"], "", cells["durable"], "", "-", goal, ""])
    return rows


def main():
    folder = pathlib.Path(sys.argv[1])
    runs = read(folder)
    head = ["load", "", "Mosquitto", "mogi in memory", "mogi durable", "bare disk",
            "durable is", "goal", "faults"]
    rows = [row(runs, *spec) for spec in ROWS if any((spec[2], b) in runs for b in BROKERS)]
    rows += churn_rows(runs) + restart_rows(folder)
    for words in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(words) + " |")


if __name__ == "__main__":
    main()
