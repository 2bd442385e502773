// SPDX-License-Identifier: GPL-2.0
/*
 * The event core by examples: the tables of the manuals that the model's alphabet has one vector of
 * each class for, here with all vectors; and the stories of DESIGN's invariants, one row each.
 */
#include <check.h>

#include <linux/errno.h>
#include <linux/strata.h>

#include "model.h"

static const struct event_view open_view = { .intr_open = true, .gif = true };
static const struct event_abi strata_abi = { .payload = true, .triple_fault = true, .smm = true, .strata = true };

static struct event exception(u8 vector)
{
	return (struct event) { .type = EVENT_EXCEPTION, .vector = vector };
}

/* ---- SDM "Conditions for Generating a Double Fault", all pairs of vectors ---- */

static const u8 contributory[] = { 0, 10, 11, 12, 13, 21, 29 };
static const u8 page_faults[] = { 14, 20 };

static bool in(const u8 *list, unsigned int n, unsigned int vector)
{
	while (n--)
		if (list[n] == vector)
			return true;
	return false;
}

#define IN(list, vector) in(list, sizeof(list), vector)

START_TEST(double_faults)
{
	u8 first = _i / 32, second = _i % 32;
	bool serious = IN(contributory, second) || IN(page_faults, second);
	bool shutdown = first == 8 && (serious || second == 8);
	bool df = (IN(contributory, first) && IN(contributory, second)) ||
		  (IN(page_faults, first) && serious);
	struct event_queue q = { .delivering = exception(first) };
	struct event e = exception(second);
	struct event_plan p;

	event_raise(&q, &e);
	event_next(&q, &open_view, &p);
	if (shutdown) {
		ck_assert_int_eq(p.step, STEP_SHUTDOWN);
		return;
	}
	ck_assert_int_eq(p.step, STEP_ENTER);
	ck_assert_int_eq(q.delivering.vector, df ? 8 : second);
	ck_assert_int_eq(q.delivering.has_error, df);
}
END_TEST

/* ---- RF: faults only ---- */

START_TEST(resume_flag)
{
	struct event_queue q = { .exception = exception(_i) };
	struct event_plan p;

	event_next(&q, &open_view, &p);
	ck_assert(p.apply);
	ck_assert_int_eq(p.set_rf, !(_i == 1 || _i == 3 || _i == 4 || _i == 8 || _i == 18));
}
END_TEST

/* ---- DR6 ---- */

static const struct {
	const char *name;
	u64 before, payload, after;
} dr6_rows[] = {
	{ "single step", 0xffff0ff0, 0x4000, 0xffff4ff0 },
	{ "breakpoint bits are those of this #DB", 0xffff0ff3, 0x4, 0xffff0ff4 },
	{ "BS stays until software clears it", 0xffff4ff0, 0x1, 0xffff4ff1 },
	{ "RTM reads inverted", 0xffff0ff0, 0x10000, 0xfffe0ff0 },
	{ "RTM is set again", 0xfffe0ff0, 0x1, 0xffff0ff1 },
	{ "bus lock reads inverted", 0xffff0ff0, 0x800, 0xffff07f0 },
	{ "bus lock stays", 0xffff07f0, 0x1, 0xffff07f1 },
	{ "general detect", 0xffff0ff0, 0x2000, 0xffff2ff0 },
};

START_TEST(dr6)
{
	ck_assert_msg(event_dr6(dr6_rows[_i].before, dr6_rows[_i].payload) == dr6_rows[_i].after,
		      "%s: %llx", dr6_rows[_i].name,
		      event_dr6(dr6_rows[_i].before, dr6_rows[_i].payload));
}
END_TEST

/* ---- stories ---- */

/*
 * A page fault on the stack interrupts the delivery of an interrupt: it is delivered first, the
 * interrupt waits for IF.
 */
START_TEST(interrupt_waits_for_fault)
{
	struct event_view closed = open_view;
	struct event_queue q = {};
	struct event e = exception(14), none = {}, vectoring = { .type = EVENT_INTERRUPT, .vector = 0x30 };
	struct event_plan p;

	ck_assert_int_eq(event_interrupt(&q, 0x30), 0);
	event_next(&q, &open_view, &p);
	ck_assert_int_eq(q.delivering.vector, 0x30);
	event_exit(&q, &vectoring);
	ck_assert_int_eq(event_interrupt(&q, 0x31), -EEXIST);
	e.has_payload = true;
	e.payload = 0x1234;
	event_raise(&q, &e);
	event_next(&q, &open_view, &p);
	ck_assert_int_eq(q.delivering.vector, 14);
	ck_assert(p.apply && p.event.payload == 0x1234 && p.irq_window);
	event_exit(&q, &none);
	closed.intr_open = false;
	event_next(&q, &closed, &p);
	ck_assert(!q.delivering.type && p.irq_window);
	event_next(&q, &open_view, &p);
	ck_assert_int_eq(q.delivering.vector, 0x30);
}
END_TEST

/*
 * The delivery of L2's virtual interrupt is interrupted, and KVM_RUN ends. IF of L1, which under
 * V_INTR_MASKING is the view's, has no say in it: to the stash it would be an interrupt of L1's.
 */
START_TEST(virtual_interrupt_of_l2)
{
	struct event vectoring = { .type = EVENT_INTERRUPT, .vector = 0x55 };
	struct event_view v = { .guest_mode = true, .gif = true, .l1_intr = true };
	struct event_queue q = {};
	struct event_plan p;

	event_exit(&q, &vectoring);
	event_settle_user(&q, &v);
	event_next(&q, &v, &p);
	ck_assert_int_eq(p.step, STEP_ENTER);
	ck_assert(q.delivering.type == EVENT_INTERRUPT && q.delivering.vector == 0x55 &&
		  !q.irq_stashed);
}
END_TEST

/* POP SS onto a watched word, then INT1: the #DB of INT1 reports the watchpoint too. */
START_TEST(mov_ss_and_int1)
{
	struct event int1 = { .type = EVENT_PRIV_EXCEPTION, .vector = 1, .len = 1 };
	struct event_view v = open_view;
	struct event_queue q = {};
	struct event_plan p;

	event_trap(&q, 0x1, SHADOW_MOV_SS);
	v.shadow = SHADOW_MOV_SS;
	event_next(&q, &v, &p);
	ck_assert(!q.delivering.type);
	event_raise(&q, &int1);
	event_next(&q, &v, &p);
	ck_assert(q.delivering.type == EVENT_PRIV_EXCEPTION && p.apply && p.event.has_payload &&
		  p.event.payload == 0x1);
	ck_assert(!q.pending_dbg);
}
END_TEST

/* An SMI overtakes a single-step trap; RSM gives it back. */
START_TEST(smi_and_trap)
{
	struct event_queue q = {};
	struct event_plan p;

	event_trap(&q, 0x4000, 0);
	event_drain(&q, 1 << INBOX_SMI, 0);
	event_next(&q, &open_view, &p);
	ck_assert_int_eq(p.step, STEP_SMI);
	event_next(&q, &open_view, &p);
	ck_assert(p.step == STEP_ENTER && !q.delivering.type);
	event_rsm(&q, 0, false);
	event_next(&q, &open_view, &p);
	ck_assert(q.delivering.vector == 1 && p.event.payload == 0x4000);
}
END_TEST

/*
 * The instruction that was stepped over runs again: its trap comes then, and a breakpoint that MOV
 * SS had held back comes now.
 */
START_TEST(smi_and_trap_of_a_restart)
{
	struct event_queue q = { .smm = true, .smm_dbg = 0x4000 };
	struct event_plan p;

	event_rsm(&q, 0, true);
	event_next(&q, &open_view, &p);
	ck_assert(p.step == STEP_ENTER && !q.delivering.type);
	q = (struct event_queue) { .smm = true, .smm_dbg = 0x4002 };
	event_rsm(&q, 0, true);
	event_next(&q, &open_view, &p);
	ck_assert(q.delivering.vector == 1 && p.event.payload == 2);
}
END_TEST

/*
 * L1 injects an NMI into L2; its delivery is interrupted, and the vCPU saved: it is L1's, not L2's,
 * and NMIs are not masked.
 */
START_TEST(l1_injects_nmi)
{
	struct event nmi = { .type = EVENT_NMI, .vector = 2 }, none = {};
	struct event_view v = open_view;
	struct event_queue q = {};
	struct kvm_vcpu_events e;

	v.guest_mode = true;
	event_nested_begin(&q, &nmi);
	event_exit(&q, &nmi);
	event_save(&q, 0, 0, &strata_abi, &v, &e);
	ck_assert(q.run_pending && !e.nmi.injected && !e.nmi.masked);
	event_exit(&q, &none);
	event_save(&q, 0, 0, &strata_abi, &v, &e);
	ck_assert(!q.run_pending && !e.nmi.injected && e.nmi.masked);
}
END_TEST

/*
 * Restored over a vCPU that was entering L2: the event that the image has in delivery comes before
 * or behind the nested state that ends that entry. Without it the event yields.
 */
START_TEST(restored_over_an_entry)
{
	struct event nmi = { .type = EVENT_NMI, .vector = 2 };
	const struct event rows[] = {
		exception(6),
		nmi,
		{ .type = EVENT_INTERRUPT, .vector = 0x31 },
		{ .type = EVENT_SOFT_INT, .vector = 0x80, .len = 2 },
	};
	struct event_queue saved = { .delivering = rows[_i] }, q[3] = {};
	struct kvm_vcpu_events e;
	__u64 bitmap[4];
	unsigned int i;

	event_save(&saved, 0, 0, &strata_abi, &open_view, &e);
	event_save_bitmap(&saved, bitmap);
	for (i = 0; i < 3; i++)
		event_nested_begin(&q[i], &nmi);
	event_restore(&q[0], &e, &strata_abi);
	event_restore_bitmap(&q[0], bitmap);
	event_nested_cancel(&q[0]);
	event_nested_cancel(&q[1]);
	event_restore_bitmap(&q[1], bitmap);
	event_restore(&q[1], &e, &strata_abi);
	ck_assert_mem_eq(&q[0], &saved, sizeof(saved));
	ck_assert_mem_eq(&q[1], &saved, sizeof(saved));
	event_restore(&q[2], &e, &strata_abi);
	event_settle_user(&q[2], &open_view);
	ck_assert(q[2].run_pending && q[2].delivering.type == EVENT_NMI && !q[2].set_aside.type);
}
END_TEST

/* What the older ABI sees of a #PF not yet delivered */
START_TEST(older_abi)
{
	struct event pf = { .type = EVENT_EXCEPTION, .vector = 14, .has_error = true, .error = 6, .has_payload = true, .payload = 0x5000 };
	const struct event_abi older = {};
	struct event_queue q = {};
	struct kvm_vcpu_events e;

	event_raise(&q, &pf);
	event_save(&q, 0, 0, &older, &open_view, &e);
	ck_assert(e.exception.injected && !e.exception.pending && e.exception.nr == 14 &&
		  e.exception.error_code == 6);
	ck_assert(!e.exception_has_payload &&
		  !(e.flags & (KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT)));
	ck_assert_uint_eq(event_view_cr2(&q, &older, 1), 0x5000);
	event_save(&q, 0, 0, &strata_abi, &open_view, &e);
	ck_assert(!e.exception.injected && e.exception.pending && e.exception_has_payload &&
		  e.exception_payload == 0x5000);
}
END_TEST

/* The bytes of struct strata_events, as a VMM would write them down */
START_TEST(layout)
{
	struct event_queue q = { .delivering = { .type = EVENT_SOFT_INT, .vector = 0x80, .len = 2 }, .irq_stashed = true,
				 .irq_vector = 0x31, .pending_dbg = 0x4001, .smm_dbg = 0x2, .mtf = true, .timer = true };
	static const u8 want[26] = { 0x0f, 4, 2, 0, 0, 0x31, 0x01, 0x40, 0, 0, 0x02 };
	struct kvm_vcpu_events e;

	event_save(&q, 0, 0, &strata_abi, &open_view, &e);
	ck_assert_mem_eq(e.reserved, want, sizeof(want));
	ck_assert(e.interrupt.injected && e.interrupt.soft && e.interrupt.nr == 0x80);
}
END_TEST

/*
 * One in delivery, one that waits, and a closed guest, or a fault in the delivery: both are taken
 * in the end, in that order, also through an image.
 */
START_TEST(two_interrupts)
{
	const struct event_queue start = { .delivering = { .type = EVENT_INTERRUPT, .vector = 0x41 }, .irq_stashed = 1, .irq_vector = 0x52 };
	struct event_view closed = open_view;
	struct event_queue q = start, back = {};
	struct event e = exception(14), none = {};
	struct kvm_vcpu_events image;
	struct event_plan p;

	closed.intr_open = false;
	if (_i & 1)
		event_raise(&q, &e);
	else
		event_settle_user(&q, &closed);
	event_next(&q, &closed, &p);
	ck_assert_int_eq(q.delivering.type, _i & 1 ? EVENT_EXCEPTION : EVENT_NONE);
	ck_assert(p.irq_window);
	event_exit(&q, &none);
	event_save(&q, 0, 0, &strata_abi, &closed, &image);
	ck_assert_int_eq(event_restore_check(&image, &strata_abi), 0);
	event_restore(&back, &image, &strata_abi);
	ck_assert_mem_eq(&back, &q, sizeof(q));
	event_next(&q, &open_view, &p);
	ck_assert(q.delivering.type == EVENT_INTERRUPT && q.delivering.vector == 0x41);
	event_exit(&q, &none);
	event_next(&q, &open_view, &p);
	ck_assert(q.delivering.type == EVENT_INTERRUPT && q.delivering.vector == 0x52 &&
		  !p.irq_window);
	event_exit(&q, &none);
	ck_assert(event_idle(&q));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("event");
	TCase *tables = tcase_create("tables"), *stories = tcase_create("stories");
	SRunner *r;
	int failed;

	tcase_add_loop_test(tables, double_faults, 0, 32 * 32);
	tcase_add_loop_test(tables, resume_flag, 0, 32);
	tcase_add_loop_test(tables, dr6, 0, sizeof(dr6_rows) / sizeof(dr6_rows[0]));
	tcase_add_test(stories, interrupt_waits_for_fault);
	tcase_add_test(stories, virtual_interrupt_of_l2);
	tcase_add_loop_test(stories, two_interrupts, 0, 2);
	tcase_add_test(stories, mov_ss_and_int1);
	tcase_add_test(stories, smi_and_trap);
	tcase_add_test(stories, smi_and_trap_of_a_restart);
	tcase_add_test(stories, l1_injects_nmi);
	tcase_add_loop_test(stories, restored_over_an_entry, 0, 4);
	tcase_add_test(stories, older_abi);
	tcase_add_test(stories, layout);
	suite_add_tcase(s, tables);
	suite_add_tcase(s, stories);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
