#include "auth/fetch_once.h"

#include <stdio.h>

struct fetch_wait {
    struct fetch_job *asked;
    bool over;
};

static void on_over(struct fetch_job *job, const struct fetch_result *result)
{
    struct fetch_wait *w = job->owner;

    w->over = true;
    w->asked->done(w->asked, result);
}

bool fetch_once(struct fetch_job *job, const struct fetch_request *request,
                char error[FETCH_ERROR_MAX])
{
    struct fetch_wait w = {.asked = job};
    struct fetch_job mine = {.done = on_over, .owner = &w};
    struct fetch *f;
    uv_loop_t loop;

    snprintf(error, FETCH_ERROR_MAX, "out of memory");
    if (uv_loop_init(&loop) != 0)
        return false;
    f = fetch_new(&loop, error);
    if (f != NULL) {
        fetch_begin(f, &mine, request);
        while (!w.over)
            uv_run(&loop, UV_RUN_ONCE);
        fetch_close(f);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return w.over;
}
