// SPDX-License-Identifier: GPL-2.0
/*
 * Running dry: nothing blocks any more, handlers come to their IRET and RSM, and what was in the
 * queue arrives, once.
 */
#include "model.h"

static void count_event(const struct event *e, struct taken *t)
{
	t->interrupts += e->type == EVENT_INTERRUPT;
	t->nmis += e->type == EVENT_NMI;
	if (e->type == EVENT_NONE || e->type == EVENT_INTERRUPT || e->type == EVENT_NMI)
		return;
	t->traps += e->vector == EVENT_DB;
	t->exceptions += e->vector != EVENT_DB;
}

/* L1 is its own guest again: it handles what it got, and what stayed pending arrives there. */
static void dry_nested_exit(struct event_queue *q, struct event_view *v, const struct event_plan *p,
			    struct taken *t)
{
	count_event(&p->vectoring, t);
	if (p->cause == CAUSE_EXCEPTION || p->cause == CAUSE_INTR)
		count_event(&p->event, t);
	t->traps += p->pending_dbg != 0;
	t->nmis += p->cause == CAUSE_NMI && v->l1_exit_takes;
	t->inits += p->cause == CAUSE_INIT && v->l1_exit_takes;
	t->shutdowns += p->cause == CAUSE_SHUTDOWN;
	t->mtfs += p->cause == CAUSE_MTF;
	t->timers += p->cause == CAUSE_TIMER;
	v->guest_mode = false;
	q->nmi_masked = false;
}

static void dry_step(struct event_queue *q, struct event_view *v, struct taken *t)
{
	static const struct event none;
	struct event_plan p;

	event_next(q, v, &p);
	v->wait_for_sipi = false;
	switch (p.step) {
	case STEP_ENTER:
		count_event(&q->delivering, t);
		event_exit(q, &none);
		/* The handler comes to its IRET; SMM to its RSM when nothing else happens there. */
		if (q->nmi_masked)
			event_nmi_unmask(q);
		else if (event_idle(q) || (q->smm && !p.event.type))
			event_rsm(q, 0, false);
		break;
	case STEP_INIT:
		t->inits++;
		v->wait_for_sipi = q->sipi;
		break;
	case STEP_SIPI:
		t->sipis++;
		break;
	case STEP_SMI:
		t->smis++;
		break;
	case STEP_SHUTDOWN:
		t->shutdowns++;
		break;
	case STEP_NESTED_EXIT:
		dry_nested_exit(q, v, &p, t);
		break;
	default:
		break;
	}
}

bool run_dry(struct event_queue q, const struct event_view *base, struct taken *t)
{
	struct event_view v = *base;

	v.gif = v.intr_open = true;
	event_settle_user(&q, &v);
	memset(t, 0, sizeof(*t));
	for (unsigned int i = 0; i < 48; i++) {
		if (event_idle(&q) && !q.smm && !q.run_pending && !q.nmi_masked)
			return true;
		dry_step(&q, &v, t);
	}
	return false;
}

void check_dry(const struct event_queue *state, const struct event_view *base)
{
	struct event_view open = *base;
	struct event_queue settled = *state, *q = &settled;
	const struct event *d = &q->delivering, *e = &q->exception;
	struct taken t, want = {};

	open.gif = open.intr_open = true;
	event_settle_user(q, &open);
	expect_at(run_dry(*q, base, &t), "everything pending is taken in the end", q, NULL);
	expect_at(t.shutdowns == q->triple_fault, "a triple fault is taken once", q, NULL);
	if (q->triple_fault)
		return;
	expect_at(t.inits == q->init, "an INIT is taken once", q, NULL);
	if (q->init)
		return;
	count_event(d, &want);
	count_event(e, &want);
	expect_at(t.interrupts == want.interrupts + q->irq_stashed, "an interrupt is taken once", q,
		  NULL);
	expect_at(t.nmis == want.nmis + q->nmi_pending, "an NMI is taken once", q, NULL);
	expect_at(t.smis == q->smi, "an SMI is taken once", q, NULL);
	expect_at(t.exceptions == want.exceptions, "an exception is taken once", q, NULL);
	expect_at(!t.traps == !(want.traps || q->pending_dbg || q->smm_dbg),
		  "a debug trap is taken", q, NULL);
}
