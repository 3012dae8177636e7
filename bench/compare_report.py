"""From the figures of all rounds: medians, ratios with their spread, the table, and whether the targets hold."""

import collections
import re
import statistics

SUBJECT = "Vestibule"

Row = collections.namedtuple("Row", "work figure label show")


def micro(seconds):
    return f"{seconds * 1e6:.0f} µs"


def milli(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"


def per_gib(seconds):
    return f"{seconds:.2f} s"


def kib(octets):
    return f"{octets / 1024:.1f} KiB"


def per_second(rate):
    return f"{rate:.0f}/s"


def gib_per_second(rate):
    return f"{rate:.2f} GiB/s"


ROWS = (
    Row("handshake", "cpu", "full handshake, ECDSA P-256: CPU time", micro),
    Row("resumed", "cpu", "resumed handshake: CPU time", micro),
    Row("rsa", "cpu", "full handshake, RSA-2048: CPU time", micro),
    Row("session", "cpu", "session with a message of 4 KiB: CPU time", micro),
    Row("bulk", "cpu", "messages of 25 MiB: CPU time of a GiB", per_gib),
    Row("idle", "memory", "idle session: memory", kib),
    Row("half", "p50", "session at half load: median", milli),
    Row("half", "p99", "session at half load: 99th percentile", milli),
    Row("session", "rate", "sessions a second", per_second),
    Row("handshake", "rate", "full handshakes a second", per_second),
    Row("bulk", "rate", "messages of 25 MiB: throughput", gib_per_second),
)

Spread = collections.namedtuple("Spread", "median low high")


def spread(values):
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values)) if values else None


class Summary:
    def __init__(self, results):
        self.results = results
        self.rounds = results["rounds"]
        self.servers = [name for name in results["versions"] if any(name in one for one in self.rounds)]

    def values(self, server, work, figure):
        return [one[server][work][figure] for one in self.rounds if figure in one.get(server, {}).get(work, {})]

    def absolute(self, server, row):
        return spread(self.values(server, row.work, row.figure))

    def ratio(self, server, row):
        """How many times Vestibule's of the same round."""
        return spread(one[server][row.work][row.figure] / one[SUBJECT][row.work][row.figure] for one in self.rounds
                      if row.figure in one.get(server, {}).get(row.work, {})
                      and row.figure in one.get(SUBJECT, {}).get(row.work, {}))

    def alone(self, work, figure):
        return spread(one[work][figure] for one in self.results["alone"] if figure in one.get(work, {}))

    def growth(self):
        """Of a session's cost from the smallest crowd to the largest."""
        return spread(list(one["crowd"].values())[-1] / list(one["crowd"].values())[0] - 1
                      for one in self.results["alone"] if one.get("crowd"))

    def median(self, server, work, figure):
        values = self.values(server, work, figure)
        return statistics.median(values) if values else None


def ratio_text(ratio):
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def cell(summary, server, row):
    found, ratio = summary.absolute(server, row), summary.ratio(server, row)
    if found is None:
        return "-"
    return row.show(found.median) + (f"<br>× {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
                                     if server != SUBJECT and ratio else "")


def table(summary):
    """Markdown."""
    lines = ["| | " + " | ".join(summary.servers) + " |", "|---" * (len(summary.servers) + 1) + "|"]
    lines += [f"| {row.label} | " + " | ".join(cell(summary, server, row) for server in summary.servers) + " |"
              for row in ROWS]
    return "\n".join(lines)


def alone_lines(summary):
    speedup, growth = summary.alone("workers", "speedup"), summary.growth()
    alone, beside = summary.alone("disturbed", "alone"), summary.alone("disturbed", "beside")
    if speedup:
        yield f"two workers on two cores: {ratio_text(speedup)} times one worker on one"
    for one in summary.results["alone"][:1]:
        for sessions in one.get("crowd", {}):
            cost = summary.alone("crowd", sessions)
            yield f"CPU time of a session among {sessions} open ones: {micro(cost.median)}"
    if growth:
        yield f"growth from the smallest crowd to the largest: {growth.median:+.0%} ({growth.low:+.0%} to {growth.high:+.0%})"
    if alone and beside:
        yield (f"99th percentile at half load: {milli(alone.median)} alone, {milli(beside.median)} while messages of "
               "25 MiB and a flood of wrong passwords come in")


def about(summary):
    results = summary.results
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    yield (f"{results['machine']}, {results['date']}. {versions}. Rounds: {len(summary.rounds)}, the servers in turn; one "
           "core for the server, another for load and sink; the same certificate and load. CPU time is user and system "
           "time of all processes of the server; memory is what they share counted once. Medians; × is how many times "
           "Vestibule's in the same round (lowest-highest). HAProxy, Hitch and stunnel check no password; the services that "
           "nginx and Postfix ask about theirs are not counted.")
    for name, lacking in results["missing"].items():
        yield f"Missing: {name} (not installed: {', '.join(lacking)})."
    for failure in results["failures"]:
        yield f"Failed: {failure}"


def targets(summary):
    """Sentences of what the project wants to hold, each with whether it does; None: it could not be measured."""
    def of(server, work, figure):
        return summary.median(server, work, figure)

    def at_most(what, found, limit, show):
        known = found is not None and limit is not None
        return (known and found <= limit) if known else None, \
            f"{what}: {show(found) if found is not None else 'not measured'}, at most {show(limit) if limit is not None else '?'}"

    def times(factor, value):
        return None if value is None else factor * value

    best = [value for name in summary.servers if name != SUBJECT and (value := of(name, "bulk", "cpu"))]
    for work, factor in (("handshake", 0.75), ("resumed", 0.65), ("rsa", 1.35), ("session", 0.70)):
        yield at_most(f"{work}, {factor} of nginx mail's", of(SUBJECT, work, "cpu"),
                      times(factor, of("nginx mail", work, "cpu")), micro)
    yield at_most("median at half load", of(SUBJECT, "half", "p50"), 0.002, milli)
    yield at_most("bulk, below the best of all others", of(SUBJECT, "bulk", "cpu"), min(best, default=None), per_gib)
    yield at_most("idle session", of(SUBJECT, "idle", "memory"), 8192, kib)
    speedup, growth = summary.alone("workers", "speedup"), summary.growth()
    yield (speedup.median >= 1.85 if speedup else None,
           f"two workers: {f'{speedup.median:.2f}' if speedup else 'not measured'} times one, at least 1.85")
    yield at_most("growth with the crowd", growth and growth.median, 0.15, "{:+.0%}".format)
    alone, beside = summary.alone("disturbed", "alone"), summary.alone("disturbed", "beside")
    yield at_most("99th percentile at half load beside uploads and a flood, twice that without", beside and beside.median,
                  times(2, alone and alone.median), milli)


def text(summary):
    lines = []
    width = max(map(len, summary.servers), default=0)
    for row in ROWS:
        lines.append(f"\n{row.label}")
        for server in summary.servers:
            found, ratio = summary.absolute(server, row), summary.ratio(server, row)
            if found:
                lines.append(f"  {server:<{width}}  {row.show(found.median):>12}  "
                             + (f"× {ratio_text(ratio)}" if ratio and server != SUBJECT else ""))
    lines += ["", *alone_lines(summary), "", *about(summary), "", "Targets:"]
    for holds, sentence in targets(summary):
        lines.append(f"  {'?' if holds is None else 'holds' if holds else 'MISSED':<7} {sentence}")
    return "\n".join(lines)


def markdown(summary, plot):
    parts = [f"![CPU time, memory and latency, side by side]({plot})", table(summary),
             "\n".join(f"- {line}" for line in alone_lines(summary)), "\n".join(about(summary))]
    return "\n\n".join(part for part in parts if part)


def write_between(path, name, text):
    """Into a file, between its markers <!-- NAME --> and <!-- end NAME -->; False: it has none."""
    before = path.read_text()
    after, count = re.subn(rf"(?s)(<!-- {name} -->\n).*?(<!-- end {name} -->)",
                           lambda found: found.group(1) + text + "\n" + found.group(2), before)
    if count == 1 and after != before:
        path.write_text(after)
    return count == 1
