// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of what the host is given after an exit: every exit reason, with and without the flag of a
 * failed entry, and every vector and type of interruption information.
 */
#include "arch/x86/vmx/host_event.h"

#include <check.h>
#include <stdlib.h>

#define VALID		(1u << 31)
#define FAILED		(1u << 31)
#define HAS_ERROR	(1u << 11)
#define UNBLOCKED	(1u << 12)
#define NMI		(VALID | 2 << 8 | 2)
#define HARD(vector)	(VALID | 3 << 8 | (vector))

enum { REASON_EXCEPTION = 0, REASON_MC_ENTRY = 41, REASONS = 128 };

struct row {
	const char *name;
	u32 reason, info;
	enum vmx_host_event event;
};

static const struct row rows[] = {
	{ "NMI", REASON_EXCEPTION, NMI, VMX_HOST_NMI },
	{ "machine check", REASON_EXCEPTION, HARD(18), VMX_HOST_MACHINE_CHECK },
	{ "machine check in an IRET", REASON_EXCEPTION, HARD(18) | UNBLOCKED, VMX_HOST_MACHINE_CHECK },
	{ "#DB", REASON_EXCEPTION, HARD(1), VMX_HOST_NOTHING },
	{ "exception with vector 2", REASON_EXCEPTION, HARD(2), VMX_HOST_NOTHING },
	{ "#PF", REASON_EXCEPTION, HARD(14) | HAS_ERROR, VMX_HOST_NOTHING },
	{ "INT1", REASON_EXCEPTION, VALID | 5 << 8 | 1, VMX_HOST_NOTHING },
	{ "INT3", REASON_EXCEPTION, VALID | 6 << 8 | 3, VMX_HOST_NOTHING },
	{ "machine check during an entry", FAILED | REASON_MC_ENTRY, 0, VMX_HOST_MACHINE_CHECK },
	{ "invalid guest state", FAILED | 33, 0, VMX_HOST_NOTHING },
	{ "MSR loading", FAILED | 34, 0, VMX_HOST_NOTHING },
	{ "VMfail", 0xffffffff, 0, VMX_HOST_NOTHING },
	{ "external interrupt", 1, 0, VMX_HOST_NOTHING },
};

START_TEST(each_row)
{
	const struct row *r = &rows[_i];
	enum vmx_host_event got = vmx_host_event(r->reason, r->info);

	ck_assert_msg(got == r->event, "%s: %d, not %d", r->name, got, r->event);
}
END_TEST

/* The information of an earlier exit is still there: only exits by exceptions look at it. */
START_TEST(stale_information)
{
	u32 reason;

	for (reason = 1; reason < REASONS; reason++) {
		ck_assert_int_eq(vmx_host_event(reason, NMI), VMX_HOST_NOTHING);
		ck_assert_int_eq(vmx_host_event(reason, HARD(18)), VMX_HOST_NOTHING);
		ck_assert_int_eq(vmx_host_event(FAILED | reason, NMI), reason == REASON_MC_ENTRY ? VMX_HOST_MACHINE_CHECK : VMX_HOST_NOTHING);
	}
	/* No entry fails with reason 0. */
	ck_assert_int_eq(vmx_host_event(FAILED, NMI), VMX_HOST_NOTHING);
}
END_TEST

START_TEST(irets)
{
	u32 vector;

	for (vector = 0; vector < 32; vector++) {
		ck_assert(!vmx_irets_unblocking(HARD(vector)));
		ck_assert_int_eq(vmx_irets_unblocking(HARD(vector) | UNBLOCKED), vector != 8);
	}
	/* NMIs come between instructions. */
	ck_assert(!vmx_irets_unblocking(NMI | UNBLOCKED));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmx host events");
	TCase *t = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(t, each_row, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(t, stale_information);
	tcase_add_test(t, irets);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
