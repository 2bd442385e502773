// SPDX-License-Identifier: GPL-2.0
/*
 * What the manuals say should happen, as tables: written from them and from DESIGN's invariants,
 * not from the code.
 *
 * - what becomes of two exceptions: SDM tables "Interrupt and Exception Classes" and "Conditions
 *   for Generating a Double Fault";
 * - what goes first: rows of SDM "Priority Among Concurrent Events" and APM "Simultaneous
 *   Interrupts", highest first, each with what it needs and what blocks it.
 */
#include "model.h"

/* ---- two exceptions ---- */

/* B: benign, C: contributory, P: page fault, D: double fault; by vector, for hardware exceptions */
static const char classes[] = "CBBBBBBBDBCCCCPBBBBBPCBBBBBBBCBB";

static char class_of(const struct event *e)
{
	return e->type == EVENT_EXCEPTION ? classes[e->vector] : 'B';
}

/*
 * First, second, outcome: D double fault, S shutdown. All other pairs are handled one after the
 * other.
 */
static const char merges[][4] = { "CCD", "PCD", "PPD", "DCS", "DPS", "DDS" };

static char merge_of(const struct event *first, const struct event *second)
{
	for (unsigned int i = 0; i < sizeof(merges) / sizeof(merges[0]); i++)
		if (merges[i][0] == class_of(first) && merges[i][1] == class_of(second))
			return merges[i][2];
	return 0;
}

/* ---- intercepts ---- */

static bool intercepted(const struct event_view *v, const struct event *e)
{
	bool pf = e->type == EVENT_EXCEPTION && e->vector == 14;
	u32 map = v->l1_exceptions;

	if (!v->guest_mode || e->type == EVENT_NMI || e->type == EVENT_INTERRUPT ||
	    e->type == EVENT_SOFT_INT)
		return false;
	if (pf && (e->error & v->l1_pf_mask) != v->l1_pf_match)
		map = ~map;
	return map >> e->vector & 1;
}

static void leave(struct event_queue *q, struct event_plan *p, u8 cause)
{
	p->step = STEP_NESTED_EXIT;
	p->cause = cause;
	p->vectoring = q->delivering;
	p->pending_dbg = q->pending_dbg;
	memset(&q->delivering, 0, sizeof(q->delivering));
	q->pending_dbg = 0;
	q->run_pending = q->mtf = q->timer = false;
}

static void drop_exception(struct event_queue *q)
{
	memset(&q->exception, 0, sizeof(q->exception));
	q->exception_user = false;
}

bool oracle_settle(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	struct event first = q->delivering;
	bool l1s_nmi = v->guest_mode && v->l1_nmi, l1s_interrupt = v->guest_mode && v->l1_intr;
	char merge;

	memset(p, 0, sizeof(*p));
	if (!q->delivering.type || !q->exception.type)
		return false;
	if (intercepted(v, &q->exception)) {
		p->event = q->exception;
		drop_exception(q);
		leave(q, p, CAUSE_EXCEPTION);
		return true;
	}
	merge = merge_of(&first, &q->exception);
	if (merge)
		drop_exception(q);
	if (merge == 'S')
		q->triple_fault = true;
	if (merge == 'D') {
		q->exception.type = EVENT_EXCEPTION;
		q->exception.vector = 8;
		q->exception.has_error = true;
	}
	if (!merge && first.type == EVENT_NMI && l1s_nmi && q->run_pending)
		q->nmi_masked = true;
	if (!merge && first.type == EVENT_NMI && !l1s_nmi) {
		q->nmi_pending += q->nmi_pending < 2;
		q->nmi_masked = q->run_pending && q->nmi_masked;
	}
	if (!merge && first.type == EVENT_INTERRUPT && !l1s_interrupt) {
		if (q->irq_stashed < 2) {
			q->irq_next = q->irq_stashed && !q->irq_soft ? q->irq_vector : 0;
			q->irq_stashed = q->irq_next ? 2 : 1;
			q->irq_vector = first.vector;
		}
		q->irq_unsettled = q->irq_soft = false;
	}
	memset(&q->delivering, 0, sizeof(first));
	q->run_pending = false;
	return false;
}

/* ---- windows, DESIGN invariant 7 ---- */

bool oracle_place(const struct event_queue *q, const struct event_view *v)
{
	bool extint = v->irqchip != IRQCHIP_SPLIT || v->chip_accepts_extint;

	return !q->irq_stashed && q->delivering.type != EVENT_INTERRUPT && extint;
}

bool oracle_open(const struct event_queue *q, const struct event_view *v)
{
	return !q->delivering.type && !q->exception.type && !v->shadow && v->gif &&
	       !q->run_pending && v->intr_open;
}

/* ---- priorities ---- */

/* What there is */
enum {
	H_NOTHING = 1u << 0, H_SHUTDOWN = 1u << 1, H_INIT = 1u << 2, H_SIPI = 1u << 3, H_DELIVERING = 1u << 4,
	H_EXCEPTION = 1u << 5, H_TRAP = 1u << 6, H_HELD_TRAP = 1u << 7, H_SMI = 1u << 8, H_MTF = 1u << 9, H_TIMER = 1u << 10,
	H_NMI = 1u << 11, H_STASH = 1u << 12, H_CHIP = 1u << 13, H_USER = 1u << 14,
};

/* How the world is */
enum {
	W_GIF0 = 1u << 0, W_IF0 = 1u << 1, W_MOVSS = 1u << 2, W_NMI_STI = 1u << 3, W_SHADOW = 1u << 4, W_MASKED = 1u << 5,
	W_SMM = 1u << 6, W_ROOT = 1u << 7, W_WAIT = 1u << 8, W_RUN = 1u << 9, W_L2 = 1u << 10, W_X_SHUTDOWN = 1u << 11,
	W_X_INIT = 1u << 12, W_X_SMI = 1u << 13, W_X_NMI = 1u << 14, W_X_INTR = 1u << 15, W_STUCK = 1u << 16,
	W_X_EXCEPTION = 1u << 17, W_X_DB = 1u << 18, W_NO_PLACE = 1u << 19, W_NO_INIT = 1u << 20,
};

enum outcome {
	O_ENTER, O_SHUTDOWN, O_RESET, O_SIPI, O_WAIT, O_BEGIN, O_BEGIN_TRAP, O_SMI, O_NMI, O_STASH, O_ACK, O_WINDOW,
	/* exits to L1 */
	O_L1_SHUTDOWN, O_L1_SIPI, O_L1_EXCEPTION, O_L1_TRAP, O_L1_SMI, O_L1_INIT, O_L1_MTF, O_L1_TIMER, O_L1_NMI, O_L1_INTR,
};

#define NMI_BLOCKERS	(W_GIF0 | W_RUN | W_MASKED | W_MOVSS | W_NMI_STI)
#define INTR_BLOCKERS	(W_GIF0 | W_RUN | W_IF0 | W_SHADOW)

static const struct row {
	unsigned int have, need, blocked;
	enum outcome outcome;
} rows[] = {
	/* the last instruction ended in shutdown */
	{ H_SHUTDOWN,	W_X_SHUTDOWN,	0,				O_L1_SHUTDOWN },
	{ H_SHUTDOWN,	0,		0,				O_SHUTDOWN },
	/* row 3, external hardware interventions: an INIT that resets leaves nothing of the rest */
	{ H_INIT,	0,		W_X_INIT | W_GIF0 | W_SMM | W_ROOT, O_RESET },
	/* wait-for-SIPI state: everything else is blocked */
	{ H_SIPI,	W_WAIT | W_L2,	W_NO_INIT,			O_L1_SIPI },
	{ H_SIPI,	W_WAIT,		W_NO_INIT,			O_SIPI },
	{ H_NOTHING,	W_WAIT,		0,				O_WAIT },
	/* delivery has begun */
	{ H_DELIVERING,	0,		0,				O_ENTER },
	/* rows 1 and 2, and faults of an instruction that is past its boundary */
	{ H_EXCEPTION,	W_X_EXCEPTION,	0,				O_L1_EXCEPTION },
	{ H_EXCEPTION,	0,		0,				O_BEGIN },
	/* row 3, external hardware interventions */
	{ H_SMI,	W_X_SMI,	W_GIF0 | W_SMM | W_RUN | W_STUCK, O_L1_SMI },
	{ H_SMI,	0,		W_GIF0 | W_SMM | W_RUN | W_X_SMI, O_SMI },
	{ H_INIT,	W_X_INIT,	W_GIF0 | W_SMM | W_RUN | W_STUCK, O_L1_INIT },
	/* SDM "Monitor Trap Flag" */
	{ H_MTF,	W_L2,		W_RUN | W_STUCK,		O_L1_MTF },
	/* row 4, traps on the previous instruction */
	{ H_TRAP,	W_X_DB,		W_RUN,				O_L1_TRAP },
	{ H_TRAP,	0,		W_RUN,				O_BEGIN_TRAP },
	{ H_HELD_TRAP,	W_X_DB,		W_RUN | W_MOVSS,		O_L1_TRAP },
	{ H_HELD_TRAP,	0,		W_RUN | W_MOVSS,		O_BEGIN_TRAP },
	/* SDM "VMX-Preemption Timer" */
	{ H_TIMER,	W_L2,		W_RUN,				O_L1_TIMER },
	/* row 5, NMI */
	{ H_NMI,	W_X_NMI,	W_GIF0 | W_RUN,			O_L1_NMI },
	{ H_NMI,	0,		NMI_BLOCKERS | W_X_NMI,		O_NMI },
	/* row 6, maskable hardware interrupts */
	{ H_STASH,	W_X_INTR,	INTR_BLOCKERS,			O_L1_INTR },
	{ H_STASH,	0,		INTR_BLOCKERS,			O_STASH },
	{ H_CHIP,	W_X_INTR,	INTR_BLOCKERS,			O_L1_INTR },
	/* DESIGN invariant 7: userspace asked, and is ready */
	{ H_USER,	0,		INTR_BLOCKERS | W_NO_PLACE,	O_WINDOW },
	{ H_CHIP,	0,		INTR_BLOCKERS,			O_ACK },
	{ H_NOTHING,	0,		0,				O_ENTER },
};

static bool is_trap(const struct event *e)
{
	return e->type == EVENT_EXCEPTION && e->vector == 1 && e->has_payload &&
	       !(e->payload & 0xa000) && (e->payload & 0x400f);
}

#define IF(cond, bit) ((cond) ? (bit) : 0)

static unsigned int what(const struct event_queue *q, const struct event_view *v)
{
	/* An exception beside an entry in progress goes with it. */
	bool trap = is_trap(&q->exception) && !q->run_pending;

	return H_NOTHING | IF(q->triple_fault, H_SHUTDOWN) | IF(q->init, H_INIT) |
	       IF(q->sipi, H_SIPI) | IF(q->delivering.type, H_DELIVERING) |
	       IF(q->exception.type && !trap, H_EXCEPTION) | IF(trap, H_TRAP) |
	       IF(q->pending_dbg && !q->exception.type, H_HELD_TRAP) | IF(q->smi, H_SMI) |
	       IF(q->mtf, H_MTF) | IF(q->timer, H_TIMER) | IF(q->nmi_pending, H_NMI) |
	       IF(q->irq_stashed, H_STASH) | IF(v->chip_vector, H_CHIP) |
	       IF(v->want_window && v->irqchip != IRQCHIP_FULL, H_USER);
}

static unsigned int world(const struct event_queue *q, const struct event_view *v)
{
	const struct event db = { .type = EVENT_EXCEPTION, .vector = 1 };
	bool l2 = v->guest_mode;

	return IF(!v->gif, W_GIF0) | IF(!v->intr_open, W_IF0) | IF(v->shadow, W_SHADOW) |
	       IF(v->shadow & SHADOW_MOV_SS, W_MOVSS) |
	       IF(v->shadow & SHADOW_STI && v->nmi_sti_blocked, W_NMI_STI) |
	       IF(q->nmi_masked, W_MASKED) | IF(q->smm, W_SMM) | IF(v->vmxon && !l2, W_ROOT) |
	       IF(v->wait_for_sipi, W_WAIT) | IF(q->run_pending, W_RUN) | IF(l2, W_L2) |
	       IF(l2 && v->l1_shutdown, W_X_SHUTDOWN) | IF(l2 && v->l1_init, W_X_INIT) |
	       IF(l2 && v->l1_smi, W_X_SMI) | IF(l2 && v->l1_nmi, W_X_NMI) |
	       IF(l2 && v->l1_intr, W_X_INTR) | IF(intercepted(v, &q->exception), W_X_EXCEPTION) |
	       IF(intercepted(v, &db), W_X_DB) |
	       IF(is_trap(&q->exception) && !v->l1_pending_dbg, W_STUCK) |
	       IF(!oracle_place(q, v), W_NO_PLACE) | IF(v->uninitialized, W_NO_INIT);
}

/* ---- outcomes ---- */

/* All causes known go into a #DB. */
static struct event gather(struct event_queue *q)
{
	struct event e = q->exception;

	if (!e.type)
		e = (struct event) { .type = EVENT_EXCEPTION, .vector = 1 };
	if (e.vector == 1 && e.type != EVENT_SOFT_INT && q->pending_dbg) {
		e.has_payload = true;
		e.payload |= q->pending_dbg;
		q->pending_dbg = 0;
	}
	return e;
}

static void begin(struct event_queue *q, struct event_plan *p)
{
	/* Faults: everything of the CPU's but #DB, #BP, #OF, #DF, #MC */
	static const char faults[] = "10000111011111111101111111111111";

	p->event = gather(q);
	p->apply = true;
	p->set_rf = p->event.type == EVENT_EXCEPTION && faults[p->event.vector] == '1';
	q->delivering = p->event;
	q->delivering.has_payload = false;
	q->delivering.payload = 0;
	drop_exception(q);
	q->run_pending = false;
}

static void overtake_trap(struct event_queue *q)
{
	if (!is_trap(&q->exception))
		return;
	q->pending_dbg |= q->exception.payload;
	drop_exception(q);
}

static void enter_smm(struct event_queue *q)
{
	overtake_trap(q);
	q->smm_dbg |= q->pending_dbg;
	q->pending_dbg = 0;
	q->smi = false;
	q->smm = true;
	q->smm_inside_nmi = q->nmi_masked;
	q->nmi_masked = true;
}

static void take_stash(struct event_queue *q, struct event *e)
{
	*e = (struct event) { .type = EVENT_INTERRUPT, .vector = q->irq_vector };
	q->irq_stashed--;
	q->irq_vector = q->irq_next;
	q->irq_next = 0;
	q->irq_unsettled = q->irq_soft = false;
}

static void to_l1(struct event_queue *q, const struct event_view *v, struct event_plan *p,
		  enum outcome o)
{
	static const u8 causes[] = {
		[O_L1_SHUTDOWN] = CAUSE_SHUTDOWN, [O_L1_SIPI] = CAUSE_SIPI, [O_L1_EXCEPTION] = CAUSE_EXCEPTION,
		[O_L1_TRAP] = CAUSE_EXCEPTION, [O_L1_SMI] = CAUSE_SMI, [O_L1_INIT] = CAUSE_INIT, [O_L1_MTF] = CAUSE_MTF,
		[O_L1_TIMER] = CAUSE_TIMER, [O_L1_NMI] = CAUSE_NMI, [O_L1_INTR] = CAUSE_INTR,
	};

	switch (o) {
	case O_L1_SHUTDOWN:
		/* nothing was in delivery any more */
		memset(&q->delivering, 0, sizeof(q->delivering));
		drop_exception(q);
		q->pending_dbg = 0;
		q->triple_fault = false;
		break;
	case O_L1_SIPI:
		p->event.vector = q->sipi_vector;
		q->sipi_vector = 0;
		q->sipi = false;
		break;
	case O_L1_EXCEPTION:
	case O_L1_TRAP:
		p->event = gather(q);
		drop_exception(q);
		break;
	case O_L1_INIT:
		q->init = !v->l1_exit_takes;
		overtake_trap(q);
		break;
	case O_L1_NMI:
		q->nmi_pending -= v->l1_exit_takes;
		q->nmi_masked |= v->l1_exit_takes;
		break;
	case O_L1_INTR:
		if (v->l1_ack_intr && q->irq_stashed)
			take_stash(q, &p->event);
		break;
	default:
		overtake_trap(q);
	}
	leave(q, p, causes[o]);
}

static void apply(struct event_queue *q, const struct event_view *v, struct event_plan *p,
		  enum outcome o)
{
	switch (o) {
	case O_ENTER:
		break;
	case O_SHUTDOWN:
		q->triple_fault = false;
		drop_exception(q);
		p->step = STEP_SHUTDOWN;
		break;
	case O_RESET:
		*q = (struct event_queue) { .smi = q->smi, .sipi = q->sipi, .sipi_vector = q->sipi_vector };
		p->step = STEP_INIT;
		break;
	case O_SIPI:
		p->event.vector = q->sipi_vector;
		q->sipi_vector = 0;
		q->sipi = false;
		p->step = STEP_SIPI;
		break;
	case O_WAIT:
		p->step = STEP_WAIT;
		break;
	case O_BEGIN:
	case O_BEGIN_TRAP:
		begin(q, p);
		break;
	case O_SMI:
		enter_smm(q);
		p->step = STEP_SMI;
		break;
	case O_NMI:
		q->nmi_pending--;
		q->nmi_masked = true;
		q->delivering = (struct event) { .type = EVENT_NMI, .vector = 2 };
		p->event = q->delivering;
		break;
	case O_STASH:
		take_stash(q, &q->delivering);
		p->event = q->delivering;
		break;
	case O_ACK:
		p->step = STEP_ACK_ENTER;
		break;
	case O_WINDOW:
		p->step = STEP_WINDOW_EXIT;
		break;
	default:
		to_l1(q, v, p, o);
	}
}

/* The windows after the step: for everything that is left, at the first moment it can be taken. */
static void windows(const struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	unsigned int w = world(q, v) & ~W_RUN;
	bool user = v->want_window && v->irqchip != IRQCHIP_FULL && !q->irq_stashed &&
		    (v->irqchip != IRQCHIP_SPLIT || v->chip_accepts_extint);
	bool chip = v->chip_vector && p->step != STEP_ACK_ENTER;
	bool init = q->init && !q->smm && !(v->vmxon && !v->guest_mode);
	bool smi = q->smi && !q->smm;
	bool nmi_blocked = !(w & W_X_NMI) && w & W_MASKED;

	/* What is injected ends the shadow. */
	if (q->delivering.type)
		w &= ~(W_SHADOW | W_MOVSS | W_NMI_STI);
	nmi_blocked |= !(w & W_X_NMI) && w & (W_MOVSS | W_NMI_STI);
	p->irq_window = q->irq_stashed || chip || user;
	p->nmi_window = q->nmi_pending && !(w & W_X_NMI);
	p->smi_window = smi && !v->gif;
	p->gif_window = !v->gif && (smi || (q->init && !q->smm) || q->nmi_pending || p->irq_window);
	p->trap_window = q->pending_dbg && (w & W_MOVSS) && !q->run_pending && !q->delivering.type;
	if (!q->delivering.type && !q->run_pending)
		return;
	p->exit_soon =
		(v->gif &&
		 (smi || init || (q->nmi_pending && !nmi_blocked) ||
		  (w & W_X_INTR && (q->irq_stashed || chip) && !(w & (W_IF0 | W_SHADOW))))) ||
		(q->pending_dbg && !(w & W_MOVSS)) || (v->guest_mode && (q->mtf || q->timer));
}

void oracle_next(struct event_queue *q, const struct event_view *v, struct event_plan *p)
{
	const struct row *row = rows;
	unsigned int have, w;

	if (oracle_settle(q, v, p))
		return;
	have = what(q, v);
	w = world(q, v);
	while (!(have & row->have) || (w & row->need) != row->need || w & row->blocked)
		row++;
	/* A SIPI that nothing waits for, and no INIT goes before, is ignored. */
	if ((!(w & W_WAIT) || w & W_NO_INIT) && row->have != H_SHUTDOWN &&
	    row->outcome != O_RESET) {
		q->sipi = false;
		q->sipi_vector = 0;
	}
	apply(q, v, p, row->outcome);
	if (p->step == STEP_ENTER || p->step == STEP_ACK_ENTER)
		windows(q, v, p);
}

static bool same_event(const struct event *a, const struct event *b)
{
	return !memcmp(a, b, sizeof(*a));
}

bool same_plan(const struct event_plan *a, const struct event_plan *b)
{
	return a->step == b->step && a->cause == b->cause && a->irq_window == b->irq_window &&
	       a->nmi_window == b->nmi_window && a->smi_window == b->smi_window &&
	       a->gif_window == b->gif_window && a->exit_soon == b->exit_soon &&
	       a->trap_window == b->trap_window && a->apply == b->apply && a->set_rf == b->set_rf &&
	       same_event(&a->event, &b->event) && same_event(&a->vectoring, &b->vectoring) &&
	       a->pending_dbg == b->pending_dbg;
}
