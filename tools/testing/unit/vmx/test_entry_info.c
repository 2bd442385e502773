// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the VM-entry interruption information: every type, vector and error code that userspace
 * may set, against the SDM's "Checks on VM-Entry Control Fields".
 */
#include "arch/x86/vmx/entry_info.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#define VALID		(1u << 31)
#define HAS_ERROR	(1u << 11)

/* By the SDM's list, not by a mask */
static bool pushes_error(unsigned int vector)
{
	switch (vector) {
	case 8: case 10: case 11: case 12: case 13: case 14: case 17:
		return true;
	default:
		return false;
	}
}

START_TEST(types)
{
	static const u32 want[] = {
		[EVENT_INTERRUPT] = 0, [EVENT_NMI] = 2, [EVENT_EXCEPTION] = 3, [EVENT_SOFT_INT] = 4, [EVENT_PRIV_EXCEPTION] = 5,
		[EVENT_SOFT_EXCEPTION] = 6,
	};
	const struct event e = { .type = _i, .vector = 2 };

	ck_assert_uint_eq(vmx_entry_info(&e, true), VALID | want[_i] << 8 | 2);
}
END_TEST

START_TEST(error_codes)
{
	unsigned int vector, said;

	for (vector = 0; vector < 256; vector++)
		for (said = 0; said < 2; said++) {
			const struct event e = { .type = _i, .vector = vector, .has_error = said };
			bool pushed = _i == EVENT_EXCEPTION && pushes_error(vector);

			ck_assert_uint_eq(vmx_entry_info(&e, true) & HAS_ERROR, pushed ? HAS_ERROR : 0);
			ck_assert_uint_eq(vmx_entry_info(&e, false) & HAS_ERROR, 0);
			ck_assert_uint_eq(vmx_entry_info(&e, true) & 0xff, vector);
		}
}
END_TEST

START_TEST(error_bits)
{
	struct event e = { .type = EVENT_EXCEPTION, .vector = 14, .error = 0xffffffff };

	ck_assert_uint_eq(vmx_entry_error(&e), 0);
	e.has_error = true;
	ck_assert_uint_eq(vmx_entry_error(&e), 0xffff);
	/* The last selector of the GDT */
	e.error = 0xfff8;
	ck_assert_uint_eq(vmx_entry_error(&e), 0xfff8);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmx entry information");
	TCase *t = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(t, types, EVENT_INTERRUPT, EVENT_PRIV_EXCEPTION + 1);
	tcase_add_loop_test(t, error_codes, EVENT_INTERRUPT, EVENT_PRIV_EXCEPTION + 1);
	tcase_add_test(t, error_bits);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
