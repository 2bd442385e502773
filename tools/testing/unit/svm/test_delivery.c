// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of EVENTINJ, EXITINTINFO and RIP around the injection of soft events, with and without
 * next-RIP save: each kind of event, injected, interrupted, injected again, and delivered, beside a
 * model of what the manual says the CPU does.
 */
#include "arch/x86/svm/delivery.h"

#include <asm/svm.h>
#include <check.h>
#include <stdlib.h>

#define RIP	0x401000ul
#define HANDLER	0x7000ul

static const struct event kinds[] = {
	{ .type = EVENT_SOFT_INT, .vector = 0x80, .len = 2 },
	{ .type = EVENT_SOFT_INT, .vector = 3, .len = 2 },
	{ .type = EVENT_SOFT_INT, .vector = 13, .len = 3 },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 3, .len = 1 },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 3, .len = 2 },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 4, .len = 1 },
	{ .type = EVENT_PRIV_EXCEPTION, .vector = 1, .len = 1 },
	{ .type = EVENT_EXCEPTION, .vector = 6 },
	{ .type = EVENT_EXCEPTION, .vector = 13, .has_error = true, .error = 0x28 },
	{ .type = EVENT_EXCEPTION, .vector = 8, .has_error = true },
	{ .type = EVENT_INTERRUPT, .vector = 0x31 },
	{ .type = EVENT_NMI, .vector = 2 },
	/* The CPU has none of these of its own, but userspace may say so. */
	{ .type = EVENT_EXCEPTION, .vector = 3 },
	{ .type = EVENT_EXCEPTION, .vector = 4 },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 6, .len = 2 },
	{ .type = EVENT_PRIV_EXCEPTION, .vector = 4, .len = 15 },
	{ .type = EVENT_PRIV_EXCEPTION, .vector = 13, .len = 1, .has_error = true, .error = 0x28 },
	{ .type = EVENT_EXCEPTION, .vector = 6, .has_error = true, .error = 0x28 },
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define NR_OWN	 (NR_KINDS - 6)

/* ---- the CPU ---- */

struct cpu {
	bool nrips;
	unsigned long rip, pushed;
	u64 next_rip;
	u32 inj, err, intinfo, intinfo_err;
};

static bool soft(u32 info)
{
	u32 type = info & SVM_EVTINJ_TYPE_MASK, vector = info & SVM_EVTINJ_VEC_MASK;

	/* #BP and #OF as exceptions are those of INT3 and INTO. */
	return type == SVM_EVTINJ_TYPE_SOFT ||
	       (type == SVM_EVTINJ_TYPE_EXEPT && (vector == 3 || vector == 4));
}

static void deliver(struct cpu *c)
{
	c->pushed = c->nrips && soft(c->inj) ? c->next_rip : c->rip;
	c->rip = HANDLER;
	c->inj = c->intinfo = 0;
}

/*
 * A nested page fault, or an exception that is intercepted. @junk: an error code bit that means
 * nothing
 */
static void interrupt(struct cpu *c, bool junk)
{
	c->intinfo = c->inj | (junk ? SVM_EXITINTINFO_VALID_ERR : 0);
	c->intinfo_err = junk && !(c->inj & SVM_EVTINJ_VALID_ERR) ? 0xdead : c->err;
	c->inj = 0;
}

/* ---- what the module does with it ---- */

static void inject(struct cpu *c, struct svm_soft *s, const struct event *e, bool v86)
{
	c->inj = svm_inject_info(e, false, v86, true);
	c->err = e->error;
	*s = (struct svm_soft) { };
	c->next_rip = c->rip;
	if (!event_is_soft(e))
		return;
	*s = (struct svm_soft) { .moved = true, .type = e->type, .vector = e->vector, .from = c->rip, .to = c->rip + e->len };
	c->rip = s->to;
	c->next_rip = s->to;
}

static void come_back(struct cpu *c, struct svm_soft *s, const struct event *injected,
		      struct event *e)
{
	svm_interrupted(c->intinfo, c->intinfo_err, injected, e);
	c->rip = svm_soft_end(s, e, c->nrips ? c->next_rip : 0, c->rip);
	ck_assert(!s->moved);
}

static void expect_same(const struct event *got, const struct event *want)
{
	ck_assert_msg(got->type == want->type && got->vector == want->vector &&
			      got->len == want->len,
		      "type %u vector %u len %u, not %u %u %u", got->type, got->vector, got->len,
		      want->type, want->vector, want->len);
	ck_assert_msg(got->has_error == want->has_error && got->error == want->error,
		      "vector %u: error code", want->vector);
}

/* ---- tests ---- */

/*
 * Interrupted up to three times, then delivered once: the address behind the instruction, whichever
 * way the CPU goes by.
 */
START_TEST(delivered_once)
{
	unsigned int kind = _i / 8, times, t;
	bool nrips = _i & 1, v86 = _i & 2, junk = _i & 4;
	const struct event *want = &kinds[kind];
	struct svm_soft s;
	struct event e;

	for (times = 0; times < 4; times++) {
		struct cpu c = { .nrips = nrips, .rip = RIP };

		e = *want;
		for (t = 0; t < times; t++) {
			inject(&c, &s, &e, v86);
			interrupt(&c, junk);
			come_back(&c, &s, want, &e);
			expect_same(&e, want);
			ck_assert_uint_eq(c.rip, RIP);
		}
		inject(&c, &s, &e, v86);
		deliver(&c);
		ck_assert_uint_eq(c.pushed, RIP + want->len);
		come_back(&c, &s, want, &e);
		ck_assert_int_eq(e.type, EVENT_NONE);
		ck_assert_uint_eq(c.rip, HANDLER);
	}
}
END_TEST

/*
 * The CPU was delivering an event of the guest's own when it exited: RIP is at the instruction,
 * whose length is found by decoding there. INT1 looks like a trap.
 */
START_TEST(delivery_of_its_own)
{
	const struct event *want = &kinds[_i / 4];
	struct cpu c = { .nrips = _i & 1, .rip = RIP, .next_rip = RIP + want->len, .err = want->error };
	const struct event none = { };
	struct event e, looks = *want;
	struct svm_soft s = { };

	looks.len = 0;
	if (want->type == EVENT_PRIV_EXCEPTION)
		looks.type = EVENT_EXCEPTION;
	c.inj = svm_inject_info(want, true, false, true);
	interrupt(&c, _i & 2);
	come_back(&c, &s, &none, &e);
	expect_same(&e, &looks);
	ck_assert_uint_eq(c.rip, RIP);
}
END_TEST

/* Delivered, and its handler has come back: what is interrupted there is something else. */
START_TEST(another_event_behind_it)
{
	const struct event *first = &kinds[_i / (2 * NR_OWN)], *second = &kinds[_i / 2 % NR_OWN];
	struct cpu c = { .nrips = _i & 1, .rip = RIP };
	struct svm_soft s;
	struct event e;
	bool alike = first->vector == second->vector &&
		     (first->type == second->type ||
		      (first->type == EVENT_SOFT_EXCEPTION && second->type == EVENT_SOFT_INT));

	inject(&c, &s, first, false);
	deliver(&c);
	c.rip = c.pushed;
	c.inj = svm_inject_info(second, true, false, true);
	c.err = second->error;
	interrupt(&c, false);
	c.next_rip = c.rip + second->len;
	come_back(&c, &s, first, &e);
	/*
	 * Without next-RIP save two of a kind in a row are one to the module; both are at their
	 * instruction.
	 */
	if (event_is_soft(first) && !(alike && !c.nrips))
		ck_assert_uint_eq(c.rip, RIP + first->len);
}
END_TEST

/* The type fields, and who gets an error code */
START_TEST(eventinj)
{
	static const u32 plain[] = {
		[EVENT_SOFT_INT] = SVM_EVTINJ_TYPE_SOFT, [EVENT_SOFT_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT,
		[EVENT_PRIV_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT, [EVENT_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT,
		[EVENT_INTERRUPT] = SVM_EVTINJ_TYPE_INTR, [EVENT_NMI] = SVM_EVTINJ_TYPE_NMI,
	};
	const struct event *e = &kinds[_i / 8];
	bool l1s = _i & 1, v86 = _i & 2, pe = _i & 4,
	     as_int = e->type == EVENT_SOFT_EXCEPTION && !l1s && !v86;
	u32 info = svm_inject_info(e, l1s, v86, pe);

	ck_assert_uint_eq(info & SVM_EVTINJ_VEC_MASK, e->vector);
	ck_assert(info & SVM_EVTINJ_VALID);
	ck_assert_uint_eq(info & SVM_EVTINJ_TYPE_MASK, as_int ? SVM_EVTINJ_TYPE_SOFT : plain[e->type]);
	ck_assert_int_eq(!!(info & SVM_EVTINJ_VALID_ERR), e->has_error && pe);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("svm_delivery");
	TCase *t = tcase_create("soft events");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, delivered_once, 0, 8 * NR_KINDS);
	tcase_add_loop_test(t, delivery_of_its_own, 0, 4 * NR_OWN);
	tcase_add_loop_test(t, another_event_behind_it, 0, 2 * NR_OWN * NR_OWN);
	tcase_add_loop_test(t, eventinj, 0, 8 * NR_KINDS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
