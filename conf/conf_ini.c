#include "conf/conf_ini.h"

#include <ini.h>
#include <stdbool.h>
#include <string.h>

struct lines {
    const struct conf_ini_events *events;
    const char *at;
    const char *end;
    unsigned line;
    bool in_section; /* false before the first one, and after one that could not be read */
    bool any_section;
};

static bool take_line(struct lines *l, const char **line, size_t *len)
{
    if (l->at == l->end)
        return false;
    const char *end = memchr(l->at, '\n', (size_t)(l->end - l->at));
    *line = l->at;
    *len = (size_t)((end != NULL ? end : l->end) - l->at);
    l->at = end != NULL ? end + 1 : l->end;
    l->line++;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **line, size_t *len)
{
    if (*len > 0 && (*line)[*len - 1] == '\r')
        --*len;
    while (*len > 0 && blank((*line)[*len - 1]))
        --*len;
    while (*len > 0 && blank(**line)) {
        ++*line;
        --*len;
    }
}

static bool holds_control(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
            return true;
    }
    return false;
}

static bool holds_inline_comment(const char *line, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (line[i] == ';' && blank(line[i - 1]))
            return true;
    }
    return false;
}

static bool problem(struct lines *l, const char *what)
{
    l->events->problem(l->events->context, l->line, what);
    return false;
}

static bool section_ok(struct lines *l, const char *line, size_t len)
{
    char name[CONF_SECTION_MAX + 1];
    l->in_section = false;
    l->any_section = true;
    const char *end = memchr(line, ']', len);
    if (end == NULL)
        return problem(l, "a section's name has no ] at its end; write [section]");
    if (end != line + len - 1)
        return problem(l, "something follows the ]; put it on a line of its own");
    if (len - 2 > CONF_SECTION_MAX)
        return problem(l, "a section's name is longer than 49 octets; make it shorter");
    memcpy(name, line + 1, len - 2);
    name[len - 2] = '\0';
    l->in_section = true;
    l->events->section(l->events->context, l->line, name);
    return true;
}

static bool entry_ok(struct lines *l, const char *line, size_t len)
{
    if (memchr(line, '=', len) == NULL && memchr(line, ':', len) == NULL)
        return problem(l, "neither a [section] nor key = value; a comment starts with #");
    if (!l->any_section)
        return problem(l, "a key before the first section; put it below one such as [server]");
    return l->in_section;
}

static bool line_ok(struct lines *l, const char *line, size_t len)
{
    if (holds_control(line, len))
        return problem(l, "a control octet (NUL, lone carriage return or the like); remove it");
    if (len == 0 || *line == '#' || *line == ';')
        return false;
    if (len > CONF_LINE_MAX)
        return problem(l,
                       "the line is longer than 197 octets; give a list's values in several lines");
    if (holds_inline_comment(line, len))
        return problem(l, "a ; behind a blank; put the comment on a line of its own");
    return *line == '[' ? section_ok(l, line, len) : entry_ok(l, line, len);
}

/* What inih takes for fgets. A line that it must not see becomes an empty one, so that its line
 * count stays right. */
static char *reader(char *out, int cap, void *stream)
{
    struct lines *l = stream;
    const char *line;
    size_t len;
    if (!take_line(l, &line, &len))
        return NULL;
    trim(&line, &len);
    if (!line_ok(l, line, len) || cap < CONF_LINE_MAX + 2)
        len = 0;
    memcpy(out, line, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    return out;
}

static int entry(void *stream, const char *section, const char *key, const char *value)
{
    struct lines *l = stream;
    (void)section; /* told by section_ok, and there when a section has no keys */
    l->events->entry(l->events->context, l->line, key, value);
    return 1;
}

void conf_ini_read(const struct conf_ini_events *events, const char *text, size_t len)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t skip = len >= 3 && memcmp(text, bom, 3) == 0 ? 3 : 0;
    struct lines l = {.events = events, .at = text + skip, .end = text + len};
    if (ini_parse_stream(reader, &l, entry, &l) != 0)
        problem(&l, "the file cannot be read as INI");
}
