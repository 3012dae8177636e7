#include "proxy/hashing.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

#define HASHING_NICE 10
#define HASHING_THREADS_MAX 64

struct queue {
    struct hashing_job *first;
    struct hashing_job **last;
};

struct hashing {
    uv_async_t ready;   /* something is done */
    unsigned under_way; /* the loop's alone */
    bool stopping;      /* likewise */
    unsigned count;
    pthread_t threads[HASHING_THREADS_MAX];
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t wanted;
    bool ended;
    struct queue waiting;
    struct queue done;
};

static void queue_put(struct queue *q, struct hashing_job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
}

static struct hashing_job *queue_take(struct queue *q)
{
    struct hashing_job *job = q->first;
    if (job == NULL)
        return NULL;
    q->first = job->next;
    if (q->first == NULL)
        q->last = &q->first;
    return job;
}

/* NULL: the end. */
static struct hashing_job *wait_for_job(struct hashing *h)
{
    struct hashing_job *job;
    pthread_mutex_lock(&h->lock);
    while ((job = queue_take(&h->waiting)) == NULL && !h->ended)
        pthread_cond_wait(&h->wanted, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return job;
}

static void *run_thread(void *argument)
{
    struct hashing *h = argument;
    struct hashing_job *job;
    (void)setpriority(PRIO_PROCESS, 0, HASHING_NICE); /* on Linux this thread's alone */
    while ((job = wait_for_job(h)) != NULL) {
        job->work(job);
        pthread_mutex_lock(&h->lock);
        queue_put(&h->done, job);
        pthread_mutex_unlock(&h->lock);
        uv_async_send(&h->ready);
    }
    return NULL;
}

static struct hashing_job *next_done(struct hashing *h)
{
    pthread_mutex_lock(&h->lock);
    struct hashing_job *job = queue_take(&h->done);
    pthread_mutex_unlock(&h->lock);
    return job;
}

static void close_when_idle(struct hashing *h)
{
    if (h->stopping && h->under_way == 0 && !uv_is_closing((uv_handle_t *)&h->ready))
        uv_close((uv_handle_t *)&h->ready, NULL);
}

static void on_ready(uv_async_t *ready)
{
    struct hashing *h = ready->data;
    struct hashing_job *job;
    while ((job = next_done(h)) != NULL) {
        h->under_way--;
        job->done(job);
    }
    close_when_idle(h);
}

static void end_threads(struct hashing *h)
{
    pthread_mutex_lock(&h->lock);
    h->ended = true;
    pthread_cond_broadcast(&h->wanted);
    pthread_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < h->count; i++)
        pthread_join(h->threads[i], NULL);
}

struct hashing *hashing_new(uv_loop_t *loop, unsigned threads)
{
    struct hashing *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->ready.data = h;
    h->waiting.last = &h->waiting.first;
    h->done.last = &h->done.first;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wanted, NULL);
    while (h->count < threads && h->count < HASHING_THREADS_MAX &&
           pthread_create(&h->threads[h->count], NULL, run_thread, h) == 0)
        h->count++;
    if (h->count > 0 && uv_async_init(loop, &h->ready, on_ready) == 0)
        return h;
    hashing_free(h);
    return NULL;
}

void hashing_run(struct hashing *h, struct hashing_job *job)
{
    h->under_way++;
    pthread_mutex_lock(&h->lock);
    queue_put(&h->waiting, job);
    pthread_cond_signal(&h->wanted);
    pthread_mutex_unlock(&h->lock);
}

void hashing_stop(struct hashing *h)
{
    h->stopping = true;
    close_when_idle(h);
}

void hashing_free(struct hashing *h)
{
    if (h == NULL)
        return;
    end_threads(h);
    pthread_cond_destroy(&h->wanted);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
