// SPDX-License-Identifier: GPL-2.0
/*
 * How long a halted vCPU's thread looks for work: the window follows the waits, within its limits.
 */
#include <check.h>
#include <stdlib.h>

#include "arch/x86/halt.h"

static const struct {
	const char *name;
	u32 window;
	u64 waited;
	u32 max, next;
} rows[] = {
	{ "found in the window",	20000, 15000, 200000, 20000 },
	{ "at its end",			20000, 20000, 200000, 20000 },
	{ "starts",			0, 1, 200000, HALT_POLL_START },
	{ "starts from little",		100, 5000, 200000, HALT_POLL_START },
	{ "grows",			20000, 20001, 200000, 40000 },
	{ "up to the limit",		150000, 190000, 200000, 200000 },
	{ "a limit below the start",	0, 100, 4000, 4000 },
	{ "no use",			200000, 200001, 200000, 0 },
	{ "stays off",			0, 200001, 200000, 0 },
	{ "the limit fell",		100000, 50, 1000, 1000 },
	{ "forbidden",			20000, 1, 0, 0 },
	{ "no overflow",		0xc0000000, 0xd0000000, 0xffffffff, 0xffffffff },
};

START_TEST(row)
{
	u32 next = halt_next_window(rows[_i].window, rows[_i].waited, rows[_i].max);

	ck_assert_msg(next == rows[_i].next, "%s: %u, expected %u", rows[_i].name, next,
		      rows[_i].next);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("halt");
	TCase *tc = tcase_create("window");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, row, 0, sizeof(rows) / sizeof(rows[0]));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
