// SPDX-License-Identifier: GPL-2.0
/*
 * EVENTINJ and EXITINTINFO; see delivery.h.
 */
#include "delivery.h"

#include <asm/svm.h>
#include <linux/bits.h>

#define BP	3
#define OF	4

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX */
#define ERROR_CODES (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17) | BIT(21) | BIT(29) | BIT(30))

u8 svm_event_type(u32 info)
{
	u8 vector = info & SVM_EXITINTINFO_VEC_MASK;

	switch (info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_INTR:	return EVENT_INTERRUPT;
	case SVM_EXITINTINFO_TYPE_NMI:	return EVENT_NMI;
	case SVM_EXITINTINFO_TYPE_SOFT:	return EVENT_SOFT_INT;
	default:
		return vector == BP || vector == OF ? EVENT_SOFT_EXCEPTION : EVENT_EXCEPTION;
	}
}

u32 svm_inject_type(const struct event *e)
{
	switch (e->type) {
	case EVENT_INTERRUPT:	return SVM_EVTINJ_TYPE_INTR;
	case EVENT_NMI:		return SVM_EVTINJ_TYPE_NMI;
	case EVENT_SOFT_INT:	return SVM_EVTINJ_TYPE_SOFT;
	default:		return SVM_EVTINJ_TYPE_EXEPT;
	}
}

/*
 * INT3 and INTO go in as software interrupts: the gate's DPL is checked, which may not have been
 * done when their delivery was interrupted. In virtual-8086 mode that type would ask for IOPL 3
 * too. L1's goes in as L1 said.
 */
u32 svm_inject_info(const struct event *e, bool l1s, bool v86, bool pe)
{
	u32 type = svm_inject_type(e);

	if (e->type == EVENT_SOFT_EXCEPTION && !l1s && !v86)
		type = SVM_EVTINJ_TYPE_SOFT;
	return e->vector | type | SVM_EVTINJ_VALID | (e->has_error && pe ? SVM_EVTINJ_VALID_ERR : 0);
}

/*
 * EXITINTINFO tells INT1, and whatever else went in as an exception, from no trap of its vector,
 * and INT3 and INTO that went in as software interrupts not from INT n.
 */
static bool same(const struct event *injected, const struct event *e)
{
	if (injected->vector != e->vector)
		return false;
	switch (injected->type) {
	case EVENT_SOFT_INT:
		return e->type == EVENT_SOFT_INT;
	case EVENT_SOFT_EXCEPTION:
		return event_is_exception(e->type) || e->type == EVENT_SOFT_INT;
	default:
		return event_is_exception(injected->type) && event_is_exception(e->type);
	}
}

/*
 * Whatever the field says, other events have none; but who injects an exception may give it one
 * that the CPU does not know of.
 */
static bool may_have_error(const struct event *injected, const struct event *e)
{
	if (e->type != EVENT_EXCEPTION || e->vector > 31)
		return false;
	return BIT(e->vector) & ERROR_CODES || (injected->has_error && same(injected, e));
}

void svm_interrupted(u32 info, u32 error, const struct event *injected, struct event *e)
{
	*e = (struct event) { .type = EVENT_NONE };
	if (!(info & SVM_EXITINTINFO_VALID))
		return;
	e->type = svm_event_type(info);
	e->vector = info & SVM_EXITINTINFO_VEC_MASK;
	e->has_error = (info & SVM_EXITINTINFO_VALID_ERR) && may_have_error(injected, e);
	e->error = e->has_error ? error : 0;
	/* Userspace may have an exception of any kind with any vector. */
	if (same(injected, e)) {
		e->type = injected->type;
		e->len = injected->len;
	}
}

/*
 * It is the same event with the same RIP, unless its handler has returned and the instruction there
 * raises another one: that has a next RIP of its own, where the CPU saves it.
 */
unsigned long svm_soft_end(struct svm_soft *s, const struct event *interrupted, u64 next_rip,
			   unsigned long rip)
{
	bool moved = s->moved;

	s->moved = false;
	if (!moved || interrupted->type != s->type || interrupted->vector != s->vector ||
	    rip != s->to)
		return rip;
	return next_rip && next_rip != s->to ? rip : s->from;
}
