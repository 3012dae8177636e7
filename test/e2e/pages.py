"""The pages about credential stores, conf/backends/NAME.md: what they tell an administrator to copy is what is tested."""

import re

import vestibule as program

FOLDER = program.REPOSITORY / "conf" / "backends"


def block(name, language="ini"):
    """The one fenced block of that language on the page."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    found = re.findall(rf"(?ms)^```{re.escape(language)}\n(.*?)^```$", text)
    assert len(found) == 1, f"conf/backends/{name}.md has {len(found)} blocks of {language} instead of one"
    return found[0]


def filled(name, mapping, language="ini"):
    """The block with this machine's paths, hosts and ports for the page's, {what stands there: what it is here}."""
    text = block(name, language)
    missing = [literal for literal in mapping if literal not in text]
    assert not missing, f"conf/backends/{name}.md does not say {missing}:\n{text}"
    # At once and the longest first, so that nothing is replaced in what was put there.
    pattern = "|".join(re.escape(literal) for literal in sorted(mapping, key=len, reverse=True))
    return re.sub(pattern, lambda match: str(mapping[match.group()]), text) if mapping else text


def settings(name, mapping):
    """The same as {section: {key: value}}; a key that is repeated has a list."""
    parsed, section = {}, None
    for line in filled(name, mapping).splitlines():
        if not line.strip() or line.startswith((";", "#")):
            continue
        if heading := re.fullmatch(r"\[([^]]+)\]", line):
            section = parsed.setdefault(heading.group(1), {})
            continue
        key, value = (part.strip() for part in line.split("=", 1))
        section[key] = value if key not in section else [*as_list(section[key]), value]
    return parsed


def as_list(value):
    return value if isinstance(value, list) else [value]
