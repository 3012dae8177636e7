#include "proxy/link.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 300 };

/* One end, with what it saw. */
struct end {
    struct link *link;
    bool takes;
    size_t frames;
    uint64_t number[MANY + 100];
    int fd[MANY + 100];
    unsigned closed;
};

static uv_loop_t loop;

static void on_frame(void *owner, struct link *l, const struct channel_frame *frame)
{
    struct end *e = owner;
    e->number[e->frames] = frame->number;
    e->fd[e->frames++] = e->takes ? link_take_fd(l) : -1;
}

static void on_closed(void *owner, struct link *l)
{
    struct end *e = owner;
    e->closed++;
    e->link = NULL;
    link_close(l);
}

static const struct link_events taking = {
    .frame = on_frame, .closed = on_closed, .takes_descriptors = true};
static const struct link_events refusing = {.frame = on_frame, .closed = on_closed};

static void on_walk(uv_handle_t *handle, void *count)
{
    (void)handle;
    ++*(int *)count;
}

/* Until nothing moves any more. */
static void turn(void)
{
    for (int i = 0; i < 50; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void finish(struct end *e)
{
    if (e->link != NULL)
        link_close(e->link);
    e->link = NULL;
    turn();
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A descriptor that can be told from others: a pipe's end that gives one octet. */
static int parcel_of(uint8_t mark)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], &mark, 1), 1);
    close(ends[1]);
    return ends[0];
}

static uint8_t mark_of(int fd)
{
    uint8_t mark = 0;
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(read(fd, &mark, 1), 1);
    close(fd);
    return mark;
}

static struct channel_frame granted(uint64_t number, bool socket)
{
    return (struct channel_frame){.type = CHANNEL_LEASED,
                                  .number = number,
                                  .as.leased = socket ? CHANNEL_GRANTED_SOCKET : CHANNEL_GRANTED};
}

static bool send_one(struct end *e, uint64_t number)
{
    struct channel_frame f = granted(number, true);
    return link_send_fd(e->link, &f, parcel_of((uint8_t)number));
}

static void send_plain(struct end *e, uint64_t number)
{
    struct channel_frame f = granted(number, false);
    link_send(e->link, &f);
}

static void pair_up(struct end *a, struct end *b, const struct link_events *events)
{
    int pair[2];
    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    a->link = link_open(&loop, pair[0], &refusing, a);
    b->link = link_open(&loop, pair[1], events, b);
    b->takes = true;
}

/* What the far end of a link gets from a peer that is not a link. */
static int open_raw(struct end *e, const struct link_events *events)
{
    int pair[2];
    memset(e, 0, sizeof *e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    e->link = link_open(&loop, pair[0], events, e);
    e->takes = true;
    return pair[1];
}

static void send_raw(int to, const void *octets, size_t len, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char octets[CMSG_SPACE(4 * sizeof(int))];
    } control = {.octets = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)octets, .iov_len = len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        m.msg_control = control.octets;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(to, &m, MSG_NOSIGNAL), len);
}

static struct buf encoded(const struct channel_frame *f)
{
    struct buf b;
    buf_init(&b, CHANNEL_FRAME_MAX);
    assert_true(channel_encode(&b, f));
    return b;
}

static void a_descriptor_comes_with_its_frame(void **state)
{
    (void)state;
    struct end a, b;
    int before = open_descriptors();
    pair_up(&a, &b, &taking);
    assert_true(send_one(&a, 7));
    turn();
    assert_int_equal(b.frames, 1);
    assert_int_equal(b.number[0], 7);
    assert_int_equal(mark_of(b.fd[0]), 7);
    finish(&a);
    finish(&b);
    assert_int_equal(open_descriptors(), before);
}

/* Whoever is granted no socket must never be handed the next one's: the MTA would see a stranger's
 * address. */
static void each_frame_gets_its_own_and_no_other(void **state)
{
    (void)state;
    struct end a, b;
    int before = open_descriptors();
    pair_up(&a, &b, &taking);
    for (uint64_t n = 0; n < 60; n++) {
        if (n % 3 == 1)
            assert_true(send_one(&a, n));
        else
            send_plain(&a, n);
    }
    turn();
    assert_int_equal(b.frames, 60);
    for (uint64_t n = 0; n < 60; n++) {
        assert_int_equal(b.number[n], n);
        if (n % 3 == 1)
            assert_int_equal(mark_of(b.fd[n]), n);
        else
            assert_int_equal(b.fd[n], -1);
    }
    finish(&a);
    finish(&b);
    assert_int_equal(open_descriptors(), before);
}

static void what_nobody_takes_is_closed(void **state)
{
    (void)state;
    struct end a, b;
    int before = open_descriptors();
    pair_up(&a, &b, &taking);
    b.takes = false;
    for (uint64_t n = 0; n < 20; n++)
        assert_true(send_one(&a, n));
    turn();
    assert_int_equal(b.frames, 20);
    assert_int_equal(b.closed, 0);
    assert_int_equal(open_descriptors(), before + 2); /* the pair alone */
    finish(&a);
    finish(&b);
    assert_int_equal(open_descriptors(), before);
}

static void too_many_at_once_are_refused_and_closed(void **state)
{
    (void)state;
    struct end a, b;
    int before = open_descriptors(), refused = 0;
    pair_up(&a, &b, &taking);
    for (uint64_t n = 0; n < MANY; n++)
        refused += !send_one(&a, n);
    assert_int_equal(refused, MANY - 256);
    turn();
    assert_int_equal(b.frames, 256);
    for (size_t n = 0; n < 256; n++)
        assert_int_equal(mark_of(b.fd[n]), (uint8_t)n);
    assert_true(send_one(&a, 1)); /* there is room again */
    turn();
    assert_int_equal(mark_of(b.fd[256]), 1);
    finish(&a);
    finish(&b);
    assert_int_equal(open_descriptors(), before);
}

static void what_waits_is_closed_with_the_link(void **state)
{
    (void)state;
    struct end a, b;
    int before = open_descriptors();
    pair_up(&a, &b, &taking);
    finish(&b);
    turn();
    a.closed = 0;
    if (a.link != NULL)
        assert_true(send_one(&a, 1));
    finish(&a);
    assert_int_equal(open_descriptors(), before);
}

static void the_vault_takes_no_descriptor(void **state)
{
    (void)state;
    struct end e;
    int before = open_descriptors();
    int raw = open_raw(&e, &refusing), gift = parcel_of(1);
    struct channel_frame f = {.type = CHANNEL_READY};
    struct buf b = encoded(&f);
    send_raw(raw, buf_data(&b), buf_len(&b), &gift, 1);
    turn();
    assert_int_equal(e.closed, 1);
    assert_int_equal(e.frames, 0);
    close(gift);
    close(raw);
    buf_clear(&b);
    turn();
    assert_int_equal(open_descriptors(), before);
}

static void a_descriptor_without_a_frame_for_it_ends_the_link(void **state)
{
    (void)state;
    struct end e;
    int before = open_descriptors();
    int raw = open_raw(&e, &taking), gift = parcel_of(1);
    struct channel_frame f = granted(1, false);
    struct buf b = encoded(&f);
    send_raw(raw, buf_data(&b), buf_len(&b), &gift, 1);
    turn();
    assert_int_equal(e.fd[0], -1);
    assert_int_equal(e.closed, 1);
    close(gift);
    close(raw);
    buf_clear(&b);
    turn();
    assert_int_equal(open_descriptors(), before);
}

static void of_two_with_one_frame_there_is_never_a_second(void **state)
{
    (void)state;
    struct end e;
    int before = open_descriptors();
    int raw = open_raw(&e, &taking), gifts[2] = {parcel_of(1), parcel_of(2)};
    struct channel_frame f = granted(1, true);
    struct buf b = encoded(&f);
    send_raw(raw, buf_data(&b), buf_len(&b), gifts, 2);
    turn();
    assert_int_equal(mark_of(e.fd[0]), 1);
    close(gifts[0]);
    close(gifts[1]);
    close(raw);
    buf_clear(&b);
    finish(&e);
    assert_int_equal(open_descriptors(), before);
}

static void a_frame_without_its_descriptor_brings_none(void **state)
{
    (void)state;
    struct end e;
    int raw = open_raw(&e, &taking);
    struct channel_frame f = granted(1, true);
    struct buf b = encoded(&f);
    send_raw(raw, buf_data(&b), buf_len(&b), NULL, 0);
    turn();
    assert_int_equal(e.frames, 1);
    assert_int_equal(e.fd[0], -1);
    assert_int_equal(e.closed, 0);
    close(raw);
    buf_clear(&b);
    finish(&e);
}

/* The descriptor comes with the first octets of its frame, wherever that is cut. */
static void frames_split_at_every_place_keep_their_descriptors(void **state)
{
    (void)state;
    int before = open_descriptors();
    struct channel_frame f = granted(1, true), g = granted(2, true);
    struct buf one = encoded(&f), two = encoded(&g);
    for (size_t cut = 1; cut < buf_len(&one); cut++) {
        struct end e;
        int raw = open_raw(&e, &taking), gifts[2] = {parcel_of(1), parcel_of(2)};
        send_raw(raw, buf_data(&one), cut, &gifts[0], 1);
        if (cut % 2 == 0)
            turn();
        send_raw(raw, buf_data(&one) + cut, buf_len(&one) - cut, NULL, 0);
        send_raw(raw, buf_data(&two), buf_len(&two), &gifts[1], 1);
        turn();
        assert_int_equal(e.frames, 2);
        assert_int_equal(mark_of(e.fd[0]), 1);
        assert_int_equal(mark_of(e.fd[1]), 2);
        close(gifts[0]);
        close(gifts[1]);
        close(raw);
        finish(&e);
    }
    buf_clear(&one);
    buf_clear(&two);
    assert_int_equal(open_descriptors(), before);
}

/* An end that hangs: what does not fit the socket waits, and comes in order and with its own. */
static void a_full_socket_loses_nothing(void **state)
{
    (void)state;
    struct end a, b;
    int small = 1, pair[2];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    a.link = link_open(&loop, pair[0], &refusing, &a);
    for (uint64_t n = 0; n < 100; n++) {
        assert_true(send_one(&a, n));
        send_plain(&a, n);
    }
    turn();
    b.link = link_open(&loop, pair[1], &taking, &b);
    b.takes = true;
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(b.frames, 200);
    for (uint64_t n = 0; n < 100; n++) {
        assert_int_equal(b.number[2 * n], n);
        assert_int_equal(mark_of(b.fd[2 * n]), n);
        assert_int_equal(b.fd[2 * n + 1], -1);
    }
    finish(&a);
    finish(&b);
}

static int begin(void **state)
{
    (void)state;
    return uv_loop_init(&loop);
}

static int end(void **state)
{
    (void)state;
    int count = 0;
    turn();
    uv_walk(&loop, on_walk, &count);
    return count != 0 || uv_loop_close(&loop) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_descriptor_comes_with_its_frame, begin, end),
        cmocka_unit_test_setup_teardown(each_frame_gets_its_own_and_no_other, begin, end),
        cmocka_unit_test_setup_teardown(what_nobody_takes_is_closed, begin, end),
        cmocka_unit_test_setup_teardown(too_many_at_once_are_refused_and_closed, begin, end),
        cmocka_unit_test_setup_teardown(what_waits_is_closed_with_the_link, begin, end),
        cmocka_unit_test_setup_teardown(the_vault_takes_no_descriptor, begin, end),
        cmocka_unit_test_setup_teardown(a_descriptor_without_a_frame_for_it_ends_the_link, begin,
                                        end),
        cmocka_unit_test_setup_teardown(of_two_with_one_frame_there_is_never_a_second, begin, end),
        cmocka_unit_test_setup_teardown(a_frame_without_its_descriptor_brings_none, begin, end),
        cmocka_unit_test_setup_teardown(frames_split_at_every_place_keep_their_descriptors, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_full_socket_loses_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
