// SPDX-License-Identifier: GPL-2.0
/*
 * Ticks to nanoseconds: the factor against exact arithmetic at every power of two and around it,
 * and the order of results.
 */
#include <check.h>
#include <stdlib.h>

#include "arch/x86/pv/scale.h"

static const u32 rates[] = { 1, 2, 3, 999, 1000, 1001, 32768, 499999, 500000, 500001, 999999, 1000000, 1000001, 2594965, 3000000,
			     4999999, 0x7fffffff, 0x80000000, 0xffffffff };

static u64 exact(u64 ticks, u32 khz)
{
	return (unsigned __int128)ticks * 1000000 / khz;
}

/* The factor is cut off after 32 bits, the ticks lose what the shift takes. */
static void compare(u32 khz, u64 ticks)
{
	const struct pv_scale s = pv_scale_of(khz);
	u64 want = exact(ticks, khz), got = pv_scale_ns(&s, ticks);
	u64 slack = want / 0x80000000u + 2 + (s.shift < 0 ? exact(1ull << -s.shift, khz) : 0);

	ck_assert_msg(got <= want && want - got <= slack, "%u kHz, %llu ticks: %llu, exactly %llu",
		      khz, (unsigned long long)ticks, (unsigned long long)got,
		      (unsigned long long)want);
}

START_TEST(near_exact)
{
	unsigned int i, bit;

	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (bit = 0; bit < 44; bit++) {
			compare(rates[i], 1ull << bit);
			compare(rates[i], (1ull << bit) - 1);
			compare(rates[i], (1ull << bit) + (1ull << bit / 2));
		}
	}
}
END_TEST

START_TEST(all_bits_used)
{
	unsigned int i;

	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		ck_assert(pv_scale_of(rates[i]).mul & 0x80000000u);
}
END_TEST

/* A hundred years at 4 GHz do not overflow. */
START_TEST(long_times)
{
	const struct pv_scale s = pv_scale_of(4000000);
	u64 ticks = 4000000000ull * 86400 * 365, ns = 0;
	unsigned int year;

	for (year = 1; year <= 100; year++) {
		u64 now = pv_scale_ns(&s, ticks * year);

		ck_assert(now > ns);
		ns = now;
	}
	ck_assert(ns / 1000000000 / 86400 / 365 >= 99);
}
END_TEST

START_TEST(never_backwards)
{
	const struct pv_scale s = pv_scale_of(rates[_i]);
	u64 ticks = 0, ns = 0;
	unsigned int i;

	srandom(1);
	for (i = 0; i < 100000; i++) {
		ticks += random() & 0xff;
		ck_assert(pv_scale_ns(&s, ticks) >= ns);
		ns = pv_scale_ns(&s, ticks);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pv_scale");
	TCase *tc = tcase_create("scale");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, near_exact);
	tcase_add_test(tc, all_bits_used);
	tcase_add_test(tc, long_times);
	tcase_add_loop_test(tc, never_backwards, 0, sizeof(rates) / sizeof(rates[0]));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
