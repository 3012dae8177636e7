#include "auth/waiting.h"

#include <stddef.h>

static void waiting_arm(struct waiting *all);

void waiting_start(struct waiting *all, uv_loop_t *loop, void (*expired)(struct waiter *w))
{
    uv_timer_init(loop, &all->timer);
    all->last = &all->first;
    all->expired = expired;
}

static bool answer_one(struct waiting *all)
{
    for (int verdict = 0; verdict < BACKEND_CHALLENGE; verdict++) {
        struct backend_question *q = all->later[verdict];
        if (q != NULL) {
            all->later[verdict] = q->state;
            q->state = NULL;
            q->answered(q, (enum backend_verdict)verdict, NULL, NULL, 0);
            return true;
        }
    }
    return false;
}

/* An answer may bring the next question, or the end of another: after each the lists are looked at
 * anew. */
static void waiting_over(uv_timer_t *timer)
{
    struct waiting *all = (struct waiting *)((char *)timer - offsetof(struct waiting, timer));
    const uint64_t now = uv_now(timer->loop);

    while (answer_one(all))
        ;
    while (all->first != NULL && all->first->deadline <= now) {
        struct waiter *w = all->first;
        waiting_remove(all, w);
        all->expired(w);
    }
    waiting_arm(all);
}

static void waiting_arm(struct waiting *all)
{
    const uint64_t now = uv_now(all->timer.loop);
    uint64_t left = 0;

    if (uv_is_closing((uv_handle_t *)&all->timer))
        return;
    for (int verdict = 0; verdict < BACKEND_CHALLENGE; verdict++) {
        if (all->later[verdict] != NULL) {
            uv_timer_start(&all->timer, waiting_over, 0, 0);
            return;
        }
    }
    if (all->first == NULL) {
        uv_timer_stop(&all->timer);
        return;
    }
    if (all->first->deadline > now)
        left = all->first->deadline - now;
    uv_timer_start(&all->timer, waiting_over, left, 0);
}

/* All wait equally long: the last to come is the last to go. */
void waiting_add(struct waiting *all, struct waiter *w)
{
    w->deadline = uv_now(all->timer.loop) + BACKEND_REPLY_MS;
    w->next = NULL;
    w->place = all->last;
    *all->last = w;
    all->last = &w->next;
    waiting_arm(all);
}

void waiting_remove(struct waiting *all, struct waiter *w)
{
    if (w->place == NULL)
        return;
    *w->place = w->next;
    if (w->next != NULL)
        w->next->place = w->place;
    else
        all->last = w->place;
    w->place = NULL;
    w->next = NULL;
}

void waiting_answer(struct waiting *all, struct backend_question *q, enum backend_verdict verdict)
{
    q->state = all->later[verdict];
    all->later[verdict] = q;
    waiting_arm(all);
}

static bool unlink_from(struct backend_question **head, struct backend_question *q)
{
    if (*head == q) {
        *head = q->state;
        return true;
    }
    for (struct backend_question *at = *head; at != NULL; at = at->state) {
        if (at->state == q) {
            at->state = q->state;
            return true;
        }
    }
    return false;
}

bool waiting_forget(struct waiting *all, struct backend_question *q)
{
    for (int verdict = 0; verdict < BACKEND_CHALLENGE; verdict++) {
        if (unlink_from(&all->later[verdict], q)) {
            q->state = NULL;
            return true;
        }
    }
    return false;
}

void waiting_stop(struct waiting *all, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&all->timer, closed);
}
