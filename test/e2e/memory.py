"""What a process has in its memory."""

import re

SLICE = 1 << 20


def regions(pid):
    """(start, end, name) of all that is readable and not a file's."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \S+ *(.*)", line)
            if found and found[4] not in ("[vvar]", "[vdso]", "[vvar_vclock]"):
                yield int(found[1], 16), int(found[2], 16), found[4]


def findings(pid, words):
    """["word at address in region: octets around it"] for each of the words, wherever it stands."""
    found = []
    overlap = max(map(len, words)) - 1
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, name in regions(pid):
            at, kept = start, b""
            while at < end:
                memory.seek(at)
                try:
                    piece = memory.read(min(SLICE, end - at))
                except OSError:  # a guard page
                    break
                if not piece:
                    break
                text = kept + piece
                for word in words:
                    for match in re.finditer(re.escape(word), text):
                        where = at - len(kept) + match.start()
                        around = text[max(0, match.start() - 48):match.end() + 16]
                        found.append(f"{word!r} at {where:#x} in {name or 'anonymous memory'}: {around!r}")
                at += len(piece)
                kept = text[-overlap:] if overlap else b""
    return found
