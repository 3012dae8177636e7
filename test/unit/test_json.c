#include "proxy/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(struct buf *out, const char *text)
{
    assert_int_equal(buf_len(out), strlen(text));
    assert_memory_equal(buf_data(out), text, strlen(text));
    buf_clear(out);
}

static void commas_stand_between_and_nowhere_else(void **state)
{
    (void)state;
    struct buf out;
    struct json j;
    buf_init(&out, 4096);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_list(&j, "empty");
    json_list_end(&j);
    json_list(&j, "list");
    json_number(&j, NULL, 1);
    json_number(&j, NULL, UINT64_MAX);
    json_object(&j, NULL);
    json_object_end(&j);
    json_object(&j, NULL);
    json_bool(&j, "yes", true);
    json_bool(&j, "no", false);
    json_object_end(&j);
    json_list_end(&j);
    json_string(&j, "text", "x");
    json_object_end(&j);
    assert_false(j.failed);
    expect(&out, "{\"empty\":[],\"list\":[1,18446744073709551615,{},{\"yes\":true,\"no\":false}],"
                 "\"text\":\"x\"}");
}

static void whatever_a_text_holds_it_stays_one_string_of_ascii(void **state)
{
    (void)state;
    static const struct {
        const char *text, *written;
    } table[] = {
        {"", "\"\""},
        {"a\"b\\c/", "\"a\\u0022b\\u005cc/\""},
        {"\x01\n\r\t\x1b\x7f", "\"\\u0001\\u000a\\u000d\\u0009\\u001b\\u007f\""},
        {"caf\xc3\xa9", "\"caf\\u00e9\""},
        {"\xe2\x80\xa8", "\"\\u2028\""},
        {"\xf0\x9f\x93\xa7", "\"\\ud83d\\udce7\""},
        {"\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\""},
        {"a\xff\xc3", "\"a\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
        {"</script>", "\"</script>\""},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf out;
        struct json j;
        buf_init(&out, 4096);
        json_init(&j, &out);
        json_string(&j, NULL, table[i].text);
        assert_false(j.failed);
        expect(&out, table[i].written);
    }
}

static void keys_are_escaped_too(void **state)
{
    (void)state;
    struct buf out;
    struct json j;
    buf_init(&out, 4096);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_number(&j, "a\"", 0);
    json_object_end(&j);
    expect(&out, "{\"a\\u0022\":0}");
}

static void want_of_room_is_told(void **state)
{
    (void)state;
    for (size_t room = 0; room < 40; room++) {
        struct buf out;
        struct json j;
        buf_init(&out, room);
        json_init(&j, &out);
        json_object(&j, NULL);
        json_string(&j, "text", "some words");
        json_list(&j, "list");
        json_bool(&j, NULL, true);
        json_list_end(&j);
        json_object_end(&j);
        assert_int_equal(j.failed, room < sizeof "{\"text\":\"some words\",\"list\":[true]}" - 1);
        buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_stand_between_and_nowhere_else),
        cmocka_unit_test(whatever_a_text_holds_it_stays_one_string_of_ascii),
        cmocka_unit_test(keys_are_escaped_too),
        cmocka_unit_test(want_of_room_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
