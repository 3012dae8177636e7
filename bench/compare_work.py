"""What is done to each server, and what is measured while it is done.

A work is a function of a server that returns {figure: value}: `cpu` is CPU seconds of all the server's processes per
operation, `rate` operations a second, `p50` and `p99` seconds, `memory` octets per session."""

import contextlib
import json
import signal
import subprocess
import time

from peers import base

WAIT = 240  # seconds; a load that takes longer has failed
GIB = 1 << 30
MESSAGE = 25 << 20
SOURCES = "127.0.66.1-127.0.66.200"  # of whoever guesses passwords


class Sink:
    """The mail server behind them all, on the load's core."""

    def __init__(self, site, port, *options):
        self.process = subprocess.Popen(
            [*pinned(site.load_cores), base.BUILD / "sink", "--quiet", "--size", "60000000", *options,
             str(port)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while not base.listens(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise base.Failed("build/sink does not start")
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def pinned(cores):
    return ["taskset", "-c", ",".join(map(str, cores))]


class Load:
    """One run of build/load against a server; a context that ends it. Events come as they happen."""

    def __init__(self, server, *arguments, users=None, cores=None, nice=0):
        site = server.site
        self.what = f"{server.name}: load {' '.join(map(str, arguments))}"
        command = ["nice", "-n", nice, *pinned(cores or site.load_cores), base.BUILD / "load", "--json", "--events", "--quiet",
                   "--server", f"127.0.0.1:{server.port}", "--ca", site.authority, "--users", users or site.logins,
                   *arguments]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.communicate()

    def events(self):
        signal.signal(signal.SIGALRM, self._too_long)
        signal.alarm(WAIT)
        try:
            for line in self.process.stdout:
                yield json.loads(line)
        finally:
            signal.alarm(0)

    def _too_long(self, *_):
        raise base.Failed(f"{self.what}: not done within {WAIT} s")

    def until(self, name):
        for event in self.events():
            if event.get("event") == name:
                return event
        raise base.Failed(f"{self.what}: {self.process.communicate()[1][-2000:]}")

    def report(self):
        last = None
        for event in self.events():
            last = event
        if last is None or last.get("program") != "load":
            raise base.Failed(f"{self.what}: {self.process.communicate()[1][-2000:]}")
        for work in last["works"]:
            if work["failed"] > work["ops"] / 1000 or not work["ops"]:
                raise base.Failed(f"{self.what}: {work['failed']} of {work['ops'] + work['failed']} failed: "
                                  f"{work['errors'][:3]}")
        return last


def measured(server, *arguments, **options):
    """The report of the first work; `server_cpu` is what the server's processes took in the measured time."""
    with Load(server, *arguments, **options) as load:
        load.until("measuring")
        before, threads = server.cpu_seconds(), server.thread_seconds()
        load.until("measured")
        after, threads_after = server.cpu_seconds(), server.thread_seconds()
        work = load.report()["works"][0]
    work["server_cpu"] = after - before
    work["busiest_thread"] = max((threads_after[one] - threads.get(one, 0) for one in threads_after), default=0)
    return work


def milliseconds(work, which):
    return work["latency"][which] / 1000


def closed(server, pace, kind, **options):
    work = measured(server, "--concurrency", server.concurrency, "--warmup", pace.warmup, "--duration", pace.duration,
                    kind, **options)
    return {"cpu": work["server_cpu"] / work["ended"], "rate": work["ops_per_s"], "p50": milliseconds(work, "p50"),
            "p99": milliseconds(work, "p99")}


def handshake(server, pace, so_far):
    return closed(server, pace, "handshake")


def resumed(server, pace, so_far):
    return closed(server, pace, "resume")


def session(server, pace, so_far):
    return closed(server, pace, "session,size=4k")


def half(server, pace, so_far):
    """Sessions that come by chance, half as many as it could take."""
    rate = so_far["session"]["rate"] / 2
    work = measured(server, "--rate", f"{rate:.0f}", "--warmup", pace.warmup, "--duration", pace.half_duration,
                    "session,size=4k")
    return {"p50": milliseconds(work, "p50"), "p99": milliseconds(work, "p99"), "rate": rate}


def bulk(server, pace, so_far):
    """CPU of a GiB in messages of 25 MiB."""
    work = measured(server, "--count", pace.messages, "bulk,size=25M")
    per_message = work["server_cpu"] / pace.messages
    return {"cpu": per_message * GIB / MESSAGE, "rate": MESSAGE / (work["service"]["mean"] / 1000) / GIB}


def idle(server, pace, so_far):
    """Memory of sessions that have said EHLO and nothing more."""
    sessions = min(server.idle_sessions, pace.sessions)
    before = server.memory()
    with Load(server, "--concurrency", sessions, f"idle,stage=ehlo,auth=no,hold={WAIT}") as load:
        holding = load.until("holding")
        after = server.memory()
    if holding["sessions"] < sessions:
        raise base.Failed(f"{load.what}: only {holding['sessions']} are open")
    return {"memory": (after - before) / sessions, "sessions": sessions}


# Each server is started with the certificate, does these in turn, and is stopped.
COMPARED = (
    ("ecdsa", {"idle": idle}),
    ("ecdsa", {"handshake": handshake, "resumed": resumed, "session": session, "half": half, "bulk": bulk}),
    ("rsa", {"rsa": handshake}),
)


# What is asked of Vestibule alone. Each is a function of a way to start it.

def workers(start, pace, so_far):
    """One worker on one core, then two on two. Where there are no cores but these for the load, throughput says little;
    so what the busiest of them, or half of all of it, costs a session is compared: whichever is more is the limit."""
    with start() as server:
        one = measured(server, "--concurrency", server.concurrency, "--warmup", pace.warmup, "--duration",
                       pace.duration, "session,size=4k")
    with start(cores=server.site.server_cores[:2]) as server:
        two = measured(server, "--concurrency", 2 * server.concurrency, "--warmup", pace.warmup, "--duration",
                       pace.duration, "session,size=4k", cores=server.site.all_cores)
    limit = max(two["busiest_thread"], two["server_cpu"] / 2) / two["ended"]
    return {"speedup": one["server_cpu"] / one["ended"] / limit}


def crowd(start, pace, so_far):
    """CPU of a session while so many others are open and say nothing."""
    found = {}
    with start() as server:
        for sessions in pace.crowds:
            with Load(server, "--concurrency", sessions - server.concurrency,
                      f"idle,stage=ehlo,auth=no,hold={WAIT}") as crowd_of:
                crowd_of.until("holding")
                found[str(sessions)] = closed(server, pace, "session,size=4k")["cpu"]
    return found


UPLOAD = "slow,size=25M,part=data,octets=1250000,interval=100ms"  # 100 Mbit/s


def disturbed(start, pace, so_far):
    """Sessions at half load, alone and while uploads of 25 MiB and a flood of wrong passwords go on. The uploads come at
    the speed of a line: at that of loopback they would fill the core of load and sink, which would measure itself."""
    rate = f"{so_far['session']['rate'] / 2:.0f}"

    def percentiles():
        work = measured(server, "--rate", rate, "--warmup", pace.warmup, "--duration", pace.half_duration,
                        "session,size=4k")
        return {"p50": milliseconds(work, "p50"), "p99": milliseconds(work, "p99")}

    with start() as server:
        alone = percentiles()
        others = server.site.strangers
        # The measuring client goes first on their core: it is the server that is to be measured.
        with Load(server, "--concurrency", 4, "--duration", WAIT, UPLOAD, nice=10), \
                Load(server, "--rate", 50, "--duration", WAIT, "--source", SOURCES, "flood", users=others, nice=10):
            beside = percentiles()
    return {"alone": alone["p99"], "beside": beside["p99"], "p50_alone": alone["p50"], "p50_beside": beside["p50"]}


ALONE = {"workers": workers, "crowd": crowd, "disturbed": disturbed}
