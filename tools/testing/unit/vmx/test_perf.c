// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the plan that switches the host's performance monitoring around VM entries: rows of what
 * the kernel names and what becomes of it, and random lists against the sentences of the header.
 */
#include "arch/x86/vmx/perf_pure.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define GLOBAL	0x38f
#define PEBS	0x3f1
#define DS_AREA	0x600
#define EVTSEL	0x186

struct row {
	const char *name;
	bool has_global;
	unsigned int nr;
	struct vmx_perf_msr msr[4];
	bool global, pebs_off;
	/* In the lists, in this order; 0 ends it */
	u32 list[4];
};

static const struct row rows[] = {
	{ .name = "nothing", .has_global = true },
	{ .name = "no event leaves anybody out", .has_global = true, .nr = 2, .msr = { { GLOBAL, 0x70000000f, 0x70000000f }, { PEBS, 0, 0 } } },
	{ .name = "events leave guests out", .has_global = true, .nr = 2, .msr = { { GLOBAL, 0x70000000f, 0 }, { PEBS, 0, 0 } }, .global = true },
	{ .name = "the same without the controls", .has_global = false, .nr = 2, .msr = { { GLOBAL, 0x70000000f, 0 }, { PEBS, 0, 0 } }, .list = { GLOBAL } },
	{ .name = "events leave the host out", .has_global = true, .nr = 1, .msr = { { GLOBAL, 0, 3 } }, .global = true },
	{ .name = "PEBS in the host", .has_global = true, .nr = 2, .msr = { { GLOBAL, 3, 2 }, { PEBS, 1, 0 } }, .global = true, .pebs_off = true, .list = { PEBS } },
	{ .name = "PEBS in both", .has_global = true, .nr = 2, .msr = { { GLOBAL, 3, 3 }, { PEBS, 1, 2 } }, .list = { PEBS } },
	{ .name = "counters of the oldest PMU", .has_global = false, .nr = 3, .msr = { { EVTSEL, 0x430000, 0 }, { EVTSEL + 1, 7, 7 }, { EVTSEL + 2, 0x430000, 0 } },
	  .list = { EVTSEL, EVTSEL + 2 } },
	{ .name = "order is kept", .has_global = false, .nr = 4, .msr = { { DS_AREA, 1, 0 }, { GLOBAL, 1, 0 }, { EVTSEL, 1, 1 }, { PEBS, 4, 0 } }, .pebs_off = true,
	  .list = { DS_AREA, GLOBAL, PEBS } },
};

START_TEST(each_row)
{
	const struct row *r = &rows[_i];
	struct vmx_perf_plan p;
	unsigned int i, n;

	memset(&p, 0xff, sizeof(p));
	ck_assert_msg(vmx_perf_plan(&p, r->msr, r->nr, r->has_global), "%s: fits", r->name);
	ck_assert_msg(p.global == r->global, "%s: global %d", r->name, p.global);
	ck_assert_msg(p.pebs_off == r->pebs_off, "%s: PEBS off %d", r->name, p.pebs_off);
	for (n = 0; n < 4 && r->list[n]; n++)
		;
	ck_assert_msg(p.nr == n, "%s: %u in the lists, expected %u", r->name, p.nr, n);
	for (i = 0; i < n; i++)
		ck_assert_msg(p.list[i].msr == r->list[i], "%s: entry %u is %#x, expected %#x",
			      r->name, i, p.list[i].msr, r->list[i]);
	for (i = 0; i < r->nr; i++) {
		if (r->msr[i].msr != GLOBAL || !r->global)
			continue;
		ck_assert_uint_eq(p.global_host, r->msr[i].host);
		ck_assert_uint_eq(p.global_guest, r->msr[i].guest);
	}
}
END_TEST

/*
 * Whatever the kernel names: run the plan on a model of the CPU, and each MSR has its value on
 * either side.
 */
START_TEST(random_lists)
{
	static const u32 pool[] = { GLOBAL, PEBS, DS_AREA, EVTSEL, EVTSEL + 1, EVTSEL + 2, 0x3f2 };
	unsigned int round, i, j, nr;

	for (round = 0; round < 20000; round++) {
		struct vmx_perf_msr msr[7];
		struct vmx_perf_plan p;
		bool has_global = rand() & 1;

		nr = rand() % 8;
		for (i = 0; i < nr; i++)
			msr[i] = (struct vmx_perf_msr) { pool[i], rand() % 3, rand() % 3 };
		ck_assert(vmx_perf_plan(&p, msr, nr, has_global));
		ck_assert(!p.global || has_global);
		for (i = 0; i < nr; i++) {
			u64 in_guest = msr[i].host, in_host;

			if (msr[i].msr == PEBS && p.pebs_off)
				in_guest = 0;
			if (msr[i].msr == GLOBAL && p.global)
				in_guest = p.global_guest;
			for (j = 0; j < p.nr; j++)
				if (p.list[j].msr == msr[i].msr)
					in_guest = p.list[j].guest;
			in_host = in_guest;
			if (msr[i].msr == GLOBAL && p.global)
				in_host = p.global_host;
			for (j = 0; j < p.nr; j++)
				if (p.list[j].msr == msr[i].msr)
					in_host = p.list[j].host;
			ck_assert_uint_eq(in_guest, msr[i].guest);
			ck_assert_uint_eq(in_host, msr[i].host);
		}
		for (j = 0; j < p.nr; j++)
			ck_assert(p.list[j].host != p.list[j].guest);
	}
}
END_TEST

START_TEST(too_many)
{
	struct vmx_perf_msr msr[VMX_PERF_MAX + 2];
	struct vmx_perf_plan p;
	unsigned int i;

	for (i = 0; i < VMX_PERF_MAX + 2; i++)
		msr[i] = (struct vmx_perf_msr) { EVTSEL + i, 1, 0 };
	ck_assert(vmx_perf_plan(&p, msr, VMX_PERF_MAX, true));
	ck_assert_uint_eq(p.nr, VMX_PERF_MAX);
	ck_assert(!vmx_perf_plan(&p, msr, VMX_PERF_MAX + 1, true));
	ck_assert_uint_eq(p.nr, VMX_PERF_MAX);
	/* PEBS goes off all the same. */
	msr[VMX_PERF_MAX + 1].msr = PEBS;
	ck_assert(!vmx_perf_plan(&p, msr, VMX_PERF_MAX + 2, true));
	ck_assert(p.pebs_off);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmx perf");
	TCase *t = tcase_create("plan");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, each_row, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(t, random_lists);
	tcase_add_test(t, too_many);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
