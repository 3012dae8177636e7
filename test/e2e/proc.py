"""What /proc tells about processes."""

import os
import pathlib
import re
import signal
import time


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def wait_for(what, seconds, name):
    """Until it gives something; that."""
    found = []
    wait_until(lambda: found.append(what()) or found[-1], seconds, name)
    return found[-1]


def _stat(pid):
    """(state, parent) or None."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def alive(pid):
    """Zombies are not: nobody may be there yet to reap them."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(name)) and stat[1] == pid and stat[0] not in "ZX":
            found.append(int(name))
    return sorted(found)


def descendants(pid):
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def kill_family(pid, what):
    """A server and all that it started, without a chance to say good-bye."""
    family = [pid, *descendants(pid)]
    for one in family:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_until(lambda: not [one for one in family if alive(one)], 10, f"{what} ends")


def status(pid):
    """The lines of /proc/PID/status as {name: value}."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def resident(pid):
    """Octets of memory in use."""
    return int(status(pid)["VmRSS"].split()[0]) * 1024


def descriptors(pid):
    """{number: what it is}."""
    folder = f"/proc/{pid}/fd"
    found = {}
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            pass
    return found


def memory(pid):
    """All octets of a process's memory that can be read, region by region."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        where = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
        if not where or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
            continue
        start, end = (int(bound, 16) for bound in where.groups())
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            while start < end:
                try:
                    octets = os.pread(file.fileno(), min(end - start, 16 << 20), start)
                except OSError:
                    break
                if not octets:
                    break
                yield octets
                start += len(octets)
