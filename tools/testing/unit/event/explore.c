// SPDX-License-Identifier: GPL-2.0
/*
 * The walk: breadth first over every queue that the real code can reach, to the fixpoint.
 *
 * A state is a queue at rest: the run loop may return to userspace there, and an image may be
 * taken. From it
 * - event_next() is asked under every view, and compared with the oracle;
 * - where it says to enter, the CPU comes back with every event it may have been delivering, and
 *   the exit raises every exception, or none; what is then in the queue is settled;
 * - other CPUs, userspace, L1 and the guest do each thing that they can do to the queue;
 * - it is saved and restored.
 */
#include <linux/errno.h>
#include <linux/strata.h>

#include "model.h"

const char *model_failure;
bool model_quiet;
enum event_rule event_mutant = NR_EVENT_RULES;

/* ---- sets of states ---- */

struct set {
	u64 *slots;
	u64 size, count;
};

static bool set_put(struct set *s, u64 key);

static void set_grow(struct set *s)
{
	struct set old = *s;

	s->size = old.size ? old.size * 2 : 1u << 16;
	s->slots = calloc(s->size, sizeof(u64));
	s->count = 0;
	if (!s->slots)
		abort();
	for (u64 i = 0; i < old.size; i++)
		if (old.slots[i])
			set_put(s, old.slots[i] - 1);
	free(old.slots);
}

/* True if it is new. Slots hold key + 1. */
static bool set_put(struct set *s, u64 key)
{
	u64 i;

	if (s->count * 2 >= s->size)
		set_grow(s);
	for (i = (key * 0x9e3779b97f4a7c15ull) >> 20 & (s->size - 1); s->slots[i];
	     i = (i + 1) & (s->size - 1))
		if (s->slots[i] == key + 1)
			return false;
	s->slots[i] = key + 1;
	s->count++;
	return true;
}

/* ---- the walk's state ---- */

static struct set seen, entered;
static u64 *todo;
static u64 todo_size, todo_count;
static u64 transitions;
static const struct config *config;
static struct event_view views[MAX_VIEWS];
static unsigned int nr_views;

static void add(const struct event_queue *q)
{
	u64 key = key_of(q);

	transitions++;
	if (!set_put(&seen, key))
		return;
	if (todo_count == todo_size) {
		todo_size = todo_size ? todo_size * 2 : 1u << 16;
		todo = realloc(todo, todo_size * sizeof(*todo));
		if (!todo)
			abort();
	}
	todo[todo_count++] = key;
}

void print_queue(const struct event_queue *q)
{
	static const char *const types[] = { "-", "INTR", "NMI", "EXC", "INTn", "SOFT", "ICEBP" };
	const struct event *d = &q->delivering, *e = &q->exception;

	printf("#   delivering %s %u len %u%s; exception %s %u%s; stash %s %#x%s%s; nmi %u%s; dbg %llx smm_dbg %llx;%s%s%s%s%s%s%s%s%s\n",
	       types[d->type], d->vector, d->len, d->replay ? " replay" : "", types[e->type], e->vector,
	       q->exception_user ? " user" : "", q->irq_stashed > 1 ? "two" : q->irq_stashed ? "full" : "empty", q->irq_vector,
	       q->irq_unsettled ? " unsettled" : "", q->irq_soft ? " soft" : "", q->nmi_pending, q->nmi_masked ? " masked" : "",
	       q->pending_dbg, q->smm_dbg, q->run_pending ? " run_pending" : "", q->smm ? " smm" : "",
	       q->smm_inside_nmi ? " inside_nmi" : "", q->smi ? " smi" : "", q->init ? " init" : "", q->sipi ? " sipi" : "",
	       q->triple_fault ? " triple" : "", q->mtf ? " mtf" : "", q->timer ? " timer" : "");
}

bool expect_at(bool ok, const char *what, const struct event_queue *q, const struct event_view *v)
{
	if (ok || model_failure)
		return ok;
	model_failure = what;
	if (model_quiet)
		return false;
	printf("# violated: %s\n", what);
	if (config)
		printf("#   machine: %s\n", config->name);
	if (q)
		print_queue(q);
	if (v)
		printf("#   view: if %d gif %d shadow %d want %d chip %d wait %d vmxon %d\n",
		       v->intr_open, v->gif, v->shadow, v->want_window, v->chip_vector,
		       v->wait_for_sipi, v->vmxon);
	return false;
}

static bool same(const struct event_queue *a, const struct event_queue *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* ---- conservation ---- */

static unsigned int nmis(const struct event_queue *q)
{
	return q->nmi_pending + (q->delivering.type == EVENT_NMI);
}

static unsigned int interrupts(const struct event_queue *q)
{
	return q->irq_stashed + (q->delivering.type == EVENT_INTERRUPT);
}

static unsigned int is_a(const struct event *e, u8 type)
{
	return e->type == type;
}

/* What a step does not hand over is still there. INIT and shutdown end everything else. */
static void check_conserved(const struct event_queue *q, const struct event_view *v,
			    const struct event_queue *a, const struct event_plan *p)
{
	bool exit = p->step == STEP_NESTED_EXIT;
	unsigned int nmi_out = exit ? is_a(&p->vectoring, EVENT_NMI) + (p->cause == CAUSE_NMI && v->l1_exit_takes) : 0;
	unsigned int irq_out = exit ? is_a(&p->vectoring, EVENT_INTERRUPT) + is_a(&p->event, EVENT_INTERRUPT) : 0;

	bool lost;

	if (p->step == STEP_INIT || p->step == STEP_SHUTDOWN || p->cause == CAUSE_SHUTDOWN)
		return;
	expect_at(nmis(q) == nmis(a) + nmi_out, "no NMI is lost or repeated", q, v);
	/* Three: see hold_interrupt(). */
	lost = interrupts(q) == 3 && q->exception.type && interrupts(a) + irq_out == 2;
	expect_at(interrupts(q) == interrupts(a) + irq_out + lost,
		  "no interrupt is lost or repeated", q, v);
	expect_at(q->smi == (a->smi || p->step == STEP_SMI), "no SMI is lost", q, v);
	expect_at(q->triple_fault == a->triple_fault, "no triple fault is lost", q, v);
	if (q->exception.type && !exit && p->step != STEP_SMI)
		expect_at(a->exception.type || (p->apply && a->delivering.type),
			  "no exception is lost", q, v);
}

/* ---- event_next() ---- */

static void check_windows(const struct event_queue *q, const struct event_view *v,
			  const struct event_queue *a, const struct event_plan *p)
{
	struct event_view open = config->base, no = *v;
	struct event_queue b = *a;
	struct event_plan next;

	if (p->step == STEP_WINDOW_EXIT) {
		expect_at(v->want_window && event_ready(q, v),
			  "a window exit only if asked and ready", q, v);
		expect_at(!event_interrupt(&b, VECTOR_A), "a ready vCPU takes an interrupt", q, v);
		event_next(&b, v, &next);
		expect_at(next.step != STEP_WINDOW_EXIT,
			  "a window exit that was used does not repeat", q, v);
		b = *a;
		no.want_window = false;
		event_next(&b, &no, &next);
		expect_at(next.step != STEP_WINDOW_EXIT, "a window exit needs asking", q, v);
	}
	/* Asked only for this: the exit it brings about is a window exit. */
	if (p->step == STEP_ENTER && p->irq_window && v->want_window && !v->chip_vector &&
	    !a->irq_stashed && !a->active && !a->pending_dbg) {
		static const struct event none;

		open.gif = open.intr_open = open.want_window = open.chip_accepts_extint = true;
		event_exit(&b, &none);
		event_next(&b, &open, &next);
		expect_at(next.step == STEP_WINDOW_EXIT, "the window that was asked for opens", q,
			  v);
	}
}

static void check_renamed(const struct event_queue *q, const struct event_view *v,
			  const struct event_queue *a, const struct event_plan *p)
{
	struct event_queue other = *q, want = *a;
	struct event_plan got, expected = *p;
	struct event_view view = *v;

	rename_queue(&other);
	rename_queue(&want);
	rename_view(&view);
	rename_event(&expected.event);
	rename_event(&expected.vectoring);
	expected.pending_dbg = p->pending_dbg == TRAP_CAUSE ? 2 : p->pending_dbg;
	if (p->step == STEP_SIPI || p->cause == CAUSE_SIPI)
		expected.event.vector += expected.event.vector != 0;
	event_next(&other, &view, &got);
	expect_at(same(&other, &want) && same_plan(&got, &expected),
		  "renaming the alphabet renames the outcome", q, v);
}

static void exits(const struct event_queue *q);

/*
 * The run loop's short cut: acknowledged at once, it goes in, and nothing else is asked of the CPU.
 */
static void check_only_chip(const struct event_queue *q, const struct event_view *v,
			    const struct event_queue *after, const struct event_plan *p)
{
	struct event_queue acked = *q, again;
	struct event_view none = *v;
	struct event_plan plan;

	expect_at(p->step == STEP_ACK_ENTER && same(q, after), "only the controllers' interrupt", q,
		  v);
	none.chip_vector = 0;
	event_acked(&acked, 0x31);
	again = acked;
	event_next(&again, &none, &plan);
	expect_at(plan.step == STEP_ENTER && same(&again, &acked) && !plan.apply && !plan.set_rf &&
			  !plan.irq_window && !plan.nmi_window && !plan.smi_window &&
			  !plan.gif_window && !plan.exit_soon,
		  "acknowledged, it goes in", q, v);
}

static void check_next(const struct event_queue *q, const struct event_view *v)
{
	struct event_queue a = *q, b = *q;
	struct event_plan p, want;

	event_next(&a, v, &p);
	oracle_next(&b, v, &want);
	expect_at(same_plan(&p, &want), "the step is the manuals'", q, v);
	expect_at(same(&a, &b), "the queue changes as the step says", q, v);
	check_conserved(q, v, &a, &p);
	expect_at(event_place(q, v) == oracle_place(q, v), "place", q, v);
	expect_at(event_open(q, v) == oracle_open(q, v), "open", q, v);
	expect_at(event_ready(q, v) ==
			  (v->irqchip == IRQCHIP_FULL || (oracle_place(q, v) && oracle_open(q, v))),
		  "ready", q, v);
	if (event_idle(q) && !v->chip_vector && !v->want_window && !v->wait_for_sipi)
		expect_at(p.step == STEP_ENTER && same(&a, q) && !p.irq_window && !p.nmi_window &&
				  !p.gif_window && !p.exit_soon,
			  "an idle queue decides nothing", q, v);
	if (event_only_chip(q, v))
		check_only_chip(q, v, &a, &p);
	check_windows(q, v, &a, &p);
	check_renamed(q, v, &a, &p);
	if (same(&a, q))
		transitions++;
	else
		add(&a);
	if (p.step != STEP_ENTER)
		return;
	b = a;
	event_next(&b, v, &want);
	want.apply = p.apply;
	want.set_rf = p.set_rf;
	want.event = p.event;
	expect_at(same(&a, &b) && same_plan(&p, &want), "an entry given up is planned again alike",
		  q, v);
	expect_at(!a.exception.type, "no exception waits behind an entry", q, v);
	if (set_put(&entered, key_of(&a)))
		exits(&a);
}

/* A sleeping vCPU wakes if and only if something would happen. */
static void check_wakes(const struct event_queue *q, const struct event_view *v)
{
	struct event_view halted = *v;
	struct event_queue a = *q;
	struct event_plan p;
	bool something;

	halted.want_window = false;
	if (q->run_pending)
		return;
	event_next(&a, &halted, &p);
	something = p.step == STEP_ENTER ? a.delivering.type : p.step != STEP_WAIT;
	/* MTF and timer belong to L2 only. */
	if (!v->guest_mode && (q->mtf || q->timer))
		return;
	expect_at(event_wakes(q, &halted) == something, "HLT ends if something happens", q,
		  &halted);
}

/* ---- the CPU comes back ---- */

static void check_settle(const struct event_queue *q)
{
	struct event_queue a = *q, b = *q, c = *q, d;
	const struct event_view *v = &config->base;
	struct event_plan p, want, direct;
	bool to_l1 = event_settle(&a, v, &p);

	expect_at(to_l1 == oracle_settle(&b, v, &want), "L1 is asked first", q, v);
	expect_at(same(&a, &b), "two exceptions merge as the manuals say", q, v);
	if (to_l1)
		expect_at(same_plan(&p, &want), "L1 gets both events", q, v);
	expect_at(!a.delivering.type || !a.exception.type, "settled, they do not coexist", q, v);
	event_next(&c, v, &direct);
	if (to_l1) {
		expect_at(same(&c, &a), "event_next() settles first", q, v);
	} else {
		d = a;
		event_next(&d, v, &want);
		expect_at(same(&c, &d) && same_plan(&direct, &want), "event_next() settles first",
			  q, v);
	}
	add(&a);
}

static bool is_soft(const struct event *e)
{
	return e->type == EVENT_SOFT_INT || e->type == EVENT_SOFT_EXCEPTION ||
	       e->type == EVENT_PRIV_EXCEPTION;
}

static void check_exit(const struct event_queue *before, const struct event *vectoring,
		       const struct event_queue *after)
{
	const struct event *d = &before->delivering;
	bool l1s = before->run_pending && vectoring->type && d->type == vectoring->type &&
		   d->vector == vectoring->vector && d->has_error == vectoring->has_error &&
		   d->error == vectoring->error;
	/* Userspace gave it: nothing at RIP would raise it again. */
	bool given = !before->run_pending && !d->replay && d->type == vectoring->type &&
		     d->vector == vectoring->vector && d->len == vectoring->len &&
		     d->has_error == vectoring->has_error && d->error == vectoring->error;
	struct event_queue want = *before;

	if (!l1s) {
		want.delivering = *vectoring;
		want.delivering.replay = is_soft(vectoring) && !given;
		want.nmi_masked |= before->run_pending && d->type == EVENT_NMI;
		want.run_pending = false;
	}
	expect_at(same(after, &want), "an exit takes back what was being delivered", before, NULL);
}

static void exits(const struct event_queue *q)
{
	for (unsigned int i = 0; i < nr_vectorings; i++) {
		struct event_queue back = *q;

		/* NMIs are blocked while one is delivered. */
		if (vectorings[i].type == EVENT_NMI && q->delivering.type != EVENT_NMI)
			continue;
		event_exit(&back, &vectorings[i]);
		check_exit(q, &vectorings[i], &back);
		add(&back);
		for (unsigned int j = 1; j < nr_raises; j++) {
			struct event_queue raised = back;

			event_raise(&raised, &raises[j]);
			expect_at(raised.exception.vector == raises[j].vector &&
					  raised.exception.replay == is_soft(&raises[j]) &&
					  raised.exception.payload == raises[j].payload &&
					  !raised.exception_user,
				  "what is raised is pending", &back, NULL);
			check_settle(&raised);
		}
	}
}

/* ---- what others do ---- */

static void check_drain(const struct event_queue *q, unsigned long inbox)
{
	struct event_queue a = *q, want = *q;
	unsigned int news = (inbox & 1) + (inbox >> 1 & 1), room = q->nmi_masked ? 1 : 2;

	event_drain(&a, inbox, SIPI_VECTOR);
	room -= q->nmi_pending < room ? q->nmi_pending : room;
	want.nmi_pending += news < room ? news : room;
	want.smi |= inbox >> INBOX_SMI & 1;
	if (inbox & 1 << INBOX_INIT) {
		want.init = true;
		want.sipi = false;
		want.sipi_vector = 0;
	}
	if (inbox & 1 << INBOX_SIPI) {
		want.sipi = true;
		want.sipi_vector = SIPI_VECTOR;
	}
	want.triple_fault |= inbox >> INBOX_TRIPLE & 1;
	expect_at(same(&a, &want), "the inbox is drained", q, NULL);
	add(&a);
}

static void try_inbox(const struct event_queue *q)
{
	check_drain(q, 0);
	check_drain(q, 3);
	for (unsigned int bit = 0; bit < 6; bit++)
		check_drain(q, 1ul << bit);
	check_drain(q, 1ul << INBOX_INIT | 1ul << INBOX_SIPI);
}

static const struct event_abi user_abi = { true, true, true, true };

static void try_interrupt(const struct event_queue *q)
{
	bool full = q->irq_stashed || q->delivering.type == EVENT_INTERRUPT;
	__u64 bitmap[4] = { };
	struct event_queue a;
	int ret;

	for (u8 vector = VECTOR_A; vector <= VECTOR_B; vector++) {
		a = *q;
		ret = event_interrupt(&a, vector);
		expect_at(ret == (full ? -EEXIST : 0) && a.irq_stashed == (full ? q->irq_stashed : 1), "KVM_INTERRUPT", q, NULL);
		expect_at(full ? same(&a, q) : a.irq_vector == vector, "KVM_INTERRUPT", q, NULL);
		add(&a);
	}

	/* An empty bitmap says nothing, another one an interrupt that is settled later. */
	a = *q;
	event_restore_bitmap(&a, bitmap);
	expect_at(same(&a, q), "an empty bitmap says nothing", q, NULL);
	bitmap[0] = 1ull << VECTOR_A;
	event_restore_bitmap(&a, bitmap);
	add(&a);
}

/* The image of this state, with an INT n of unknown length */
static void try_image(const struct event_queue *q)
{
	struct kvm_vcpu_events image;
	struct event_queue b = *q;

	event_save(q, 0, 0, &user_abi, &config->base, &image);
	event_restore(&b, &image, &user_abi);
	add(&b);
	memset(image.reserved, 0, sizeof(image.reserved));
	image.interrupt.injected = image.interrupt.soft = 1;
	image.interrupt.nr = VECTOR_SOFT;
	b = *q;
	event_restore(&b, &image, &user_abi);
	expect_at(b.irq_stashed && b.irq_unsettled && b.irq_soft && b.irq_vector == VECTOR_SOFT,
		  "interrupt.soft is accepted", q, NULL);
	add(&b);
}

/* A soft event in delivery, exactly */
static void try_soft_image(const struct event_queue *q)
{
	struct kvm_vcpu_events image;
	struct event_queue b;

	for (unsigned int i = 0; i < nr_vectorings; i++) {
		const struct event *e = &vectorings[i];
		struct strata_events s = { .flags = STRATA_EVENTS_VALID, .delivering_kind = e->type, .delivering_len = e->len };

		if (e->type < EVENT_SOFT_INT || q->run_pending)
			continue;
		memset(&image, 0, sizeof(image));
		memcpy(image.reserved, &s, sizeof(s));
		image.exception.injected = e->type != EVENT_SOFT_INT;
		image.exception.nr = image.interrupt.nr = e->vector;
		image.interrupt.injected = e->type == EVENT_SOFT_INT;
		b = *q;
		event_restore(&b, &image, &user_abi);
		expect_at(!memcmp(&b.delivering, e, sizeof(*e)),
			  "a soft event is restored with kind and length", q, NULL);
		add(&b);
	}
}

/* An interrupt in delivery beside one that waits */
static void try_two_interrupts(const struct event_queue *q)
{
	struct strata_events s = {
		.flags = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH, .delivering_kind = EVENT_INTERRUPT, .stash_nr = VECTOR_B,
	};
	struct kvm_vcpu_events image;
	struct event_queue b = *q;

	if (config->base.guest_mode || !event_idle(q))
		return;
	memset(&image, 0, sizeof(image));
	memcpy(image.reserved, &s, sizeof(s));
	image.interrupt.injected = 1;
	image.interrupt.nr = VECTOR_A;
	event_restore(&b, &image, &user_abi);
	expect_at(b.delivering.type == EVENT_INTERRUPT && b.delivering.vector == VECTOR_A &&
			  b.irq_stashed == 1 && b.irq_vector == VECTOR_B,
		  "an interrupt in delivery and another one are restored", q, NULL);
	add(&b);
}

static void try_set_regs(const struct event_queue *q)
{
	struct event_queue a = *q;

	event_drop_exception(&a);
	expect_at(q->exception_user ? !memcmp(&a.exception, &q->exception, sizeof(a.exception)) : !a.exception.type,
		  "SET_REGS drops what is the guest's", q, NULL);
	expect_at(a.delivering.type == (q->delivering.replay ? 0 : q->delivering.type), "SET_REGS drops what RIP repeats", q, NULL);
	add(&a);
}

static void try_settle(const struct event_queue *q)
{
	struct event_view open = config->base;
	struct event_queue a;

	open.gif = open.intr_open = true;
	for (unsigned int i = 0; i < 2; i++, open.intr_open = false) {
		bool own = q->irq_unsettled && !q->irq_soft && q->run_pending &&
			   q->delivering.type == EVENT_INTERRUPT &&
			   q->delivering.vector == q->irq_vector;
		bool in = q->irq_unsettled && !own && (q->irq_soft || oracle_open(q, &open));
		bool held = q->delivering.type == EVENT_INTERRUPT && !open.guest_mode &&
			    !open.intr_open && q->irq_stashed < 2;
		unsigned int wait = q->irq_stashed - (in || own);

		a = *q;
		event_settle_user(&a, &open);
		expect_at(!a.irq_unsettled && !a.exception_user && a.irq_stashed == wait + held,
			  "injected interrupts settle", q, &open);
		if (held)
			expect_at(
				!a.delivering.type && a.irq_vector == q->delivering.vector &&
					(!wait || a.irq_next == q->irq_vector),
				"a closed vCPU holds back an interrupt in delivery, before one that waits",
				q, &open);
		else if (in && !q->delivering.type && !q->exception.type)
			expect_at(a.delivering.vector == q->irq_vector &&
				  a.delivering.type == (q->irq_soft ? EVENT_SOFT_INT : EVENT_INTERRUPT) && !a.delivering.len,
				  "an open vCPU takes an injected interrupt at once", q, &open);
		else
			expect_at(!memcmp(&a.delivering, &q->delivering, sizeof(a.delivering)),
				  "what is in delivery stays", q, &open);
		add(&a);
	}
}

static void try_user(const struct event_queue *q)
{
	try_interrupt(q);
	try_image(q);
	try_soft_image(q);
	try_two_interrupts(q);
	try_set_regs(q);
	try_settle(q);
}

/*
 * KVM_X86_SET_MCE: first row of the table, and nothing but what its instruction raises again is
 * dropped.
 */
static void try_machine_check(const struct event_queue *q)
{
	const struct event mc = { .type = EVENT_EXCEPTION, .vector = 18 };
	struct event_view v = config->base;
	struct event_queue a = *q, want = *q;
	struct event_plan p;

	if (q->exception.vector == EVENT_DB && q->exception.has_payload)
		want.pending_dbg |= q->exception.payload;
	want.exception = mc;
	/* L1's intercept is asked at the next entry. */
	v.l1_exceptions &= ~(1u << 18);
	oracle_settle(&want, &v, &p);
	want.exception_user = true;
	event_machine_check(&a, &config->base);
	expect_at(same(&a, &want), "a machine check overtakes, and nothing is lost", q, NULL);
	event_drop_exception(&a);
	expect_at(a.exception.vector == 18, "SET_REGS drops no machine check", q, NULL);
}

static void try_guest(const struct event_queue *q)
{
	struct event_queue a = *q;
	bool pending = q->exception.type;

	event_trap(&a, TRAP_CAUSE, SHADOW_MOV_SS);
	expect_at(a.pending_dbg == TRAP_CAUSE &&
			  !memcmp(&a.exception, &q->exception, sizeof(a.exception)),
		  "MOV SS holds a trap", q, NULL);
	add(&a);
	a = *q;
	event_trap(&a, TRAP_CAUSE, SHADOW_STI);
	expect_at(pending ? a.pending_dbg == TRAP_CAUSE && a.exception.type == q->exception.type :
			    a.exception.payload == TRAP_CAUSE && a.exception.vector == EVENT_DB,
		  "no debug cause is lost", q, NULL);
	check_settle(&a);
	a = *q;
	event_raise_triple(&a);
	expect_at(a.triple_fault, "shutdown is raised", q, NULL);
	add(&a);
	a = *q;
	event_nmi_unmask(&a);
	add(&a);
	event_nmi_set_masked(&a, true);
	expect_at(a.nmi_masked, "NMIs are masked", q, NULL);
	event_acked(&a, VECTOR_A);
	expect_at(a.delivering.type == EVENT_INTERRUPT && a.delivering.vector == VECTOR_A,
		  "the controllers' interrupt", q, NULL);
	if (!q->smm)
		return;
	a = *q;
	event_rsm(&a, 0, false);
	expect_at(!a.smm && !a.smm_inside_nmi && !a.smm_dbg && a.nmi_masked == q->smm_inside_nmi,
		  "RSM restores NMI blocking", q, NULL);
	if (q->smm_dbg)
		expect_at(pending ? a.pending_dbg : a.exception.payload == TRAP_CAUSE, "RSM lets the trap happen", q, NULL);
	check_settle(&a);
	a = *q;
	event_rsm(&a, SHADOW_MOV_SS, false);
	expect_at(a.pending_dbg == (q->pending_dbg | q->smm_dbg) &&
			  !memcmp(&a.exception, &q->exception, sizeof(a.exception)),
		  "RSM restores a shadow that holds the trap back", q, NULL);
	check_settle(&a);
	/* The alphabet's cause is the single step's. */
	a = *q;
	event_rsm(&a, 0, true);
	expect_at(!a.smm && !a.smm_dbg && a.pending_dbg == q->pending_dbg &&
			  !memcmp(&a.exception, &q->exception, sizeof(a.exception)),
		  "an instruction that runs again has no trap yet", q, NULL);
	check_settle(&a);
}

/*
 * While L1's entry is under way, what userspace sets as injected waits for the end of it by
 * userspace, and no longer than to the next run.
 */
static void try_set_aside(const struct event_queue *q)
{
	static const struct event_abi abi = { true, true, true, true };
	static const struct event none;
	struct event_queue set, a, plain;
	struct kvm_vcpu_events image, shown;

	for (unsigned int i = 1; i < nr_vectorings; i++) {
		const struct event *e = &vectorings[i];
		struct strata_events s = { .flags = STRATA_EVENTS_VALID, .delivering_kind = e->type, .delivering_len = e->len };

		event_save(q, 0, 0, &abi, &config->base, &image);
		memcpy(image.reserved, &s, sizeof(s));
		image.flags &= ~KVM_VCPUEVENT_VALID_PAYLOAD;
		image.exception.injected = e->type >= EVENT_EXCEPTION && e->type != EVENT_SOFT_INT;
		image.exception.nr = image.interrupt.nr = e->vector;
		image.exception.has_error_code = e->has_error;
		image.exception.error_code = e->error;
		image.nmi.injected = e->type == EVENT_NMI;
		image.interrupt.injected = e->type == EVENT_INTERRUPT || e->type == EVENT_SOFT_INT;
		set = *q;
		event_restore(&set, &image, &abi);
		expect_at(!memcmp(&set.delivering, &q->delivering, sizeof(*e)) && set.run_pending &&
				  !memcmp(&set.set_aside, e, sizeof(*e)),
			  "userspace's event yields to L1's", q, NULL);
		event_save(&set, 0, 0, &abi, &config->base, &shown);
		expect_at(!shown.exception.injected && !shown.nmi.injected &&
				  !shown.interrupt.injected,
			  "and is not shown", q, NULL);
		a = set;
		event_nested_cancel(&a);
		expect_at(!memcmp(&a.delivering, e, sizeof(*e)) && !a.run_pending &&
				  !a.set_aside.type,
			  "the entry taken back, it is delivered", q, NULL);
		a = plain = set;
		plain.set_aside = none;
		event_settle_user(&a, &config->base);
		event_settle_user(&plain, &config->base);
		expect_at(same(&a, &plain), "a run forgets what yielded", q, NULL);
		event_restore(&set, &shown, &abi);
		expect_at(!set.set_aside.type, "the next SET replaces it", q, NULL);
	}
}

static void try_l1(const struct event_queue *q)
{
	struct event_queue a = *q;
	struct event_plan p = {};

	if (!config->base.guest_mode)
		return;
	if (q->run_pending)
		try_set_aside(q);
	event_nested_leave(&a, &p);
	expect_at(!a.run_pending && !a.delivering.type && !a.mtf && !a.timer && !a.pending_dbg &&
			  a.nmi_masked == q->nmi_masked &&
			  !memcmp(&p.vectoring, &q->delivering, sizeof(p.vectoring)),
		  "an exit gives L1 what was in delivery", q, NULL);
	if (!q->exception.type && !q->delivering.type && !q->run_pending)
		for (unsigned int i = 0; i < nr_vectorings; i++) {
			a = *q;
			event_nested_begin(&a, &vectorings[i]);
			expect_at(a.run_pending && !memcmp(&a.delivering, &vectorings[i],
							   sizeof(a.delivering)),
				  "L1 injects", q, NULL);
			add(&a);
		}
	if (!config->base.l1_pending_dbg)
		return;
	a = *q;
	a.mtf = true;
	add(&a);
	a = *q;
	a.timer = true;
	add(&a);
}

/* What the alphabet's one token of a kind does not tell apart */
void check_finer(void)
{
	const struct event_view open = { .gif = true, .intr_open = true };
	struct event_queue q = { .delivering = vectorings[2], .run_pending = true };
	struct event other = vectorings[2];
	struct event_plan p;

	other.error ^= 0x40;
	event_exit(&q, &other);
	expect_at(!q.run_pending, "another error code is another event than L1's", &q, NULL);
	q = (struct event_queue) { .smi = true, .exception = { .type = EVENT_EXCEPTION, .vector = EVENT_DB, .has_payload = true,
							       .payload = 1u << 13 | TRAP_CAUSE } };
	event_next(&q, &open, &p);
	expect_at(p.step == STEP_ENTER && q.delivering.vector == EVENT_DB,
		  "a #DB that is a fault is past the boundary", &q, NULL);
	expect_at(!event_l1_intercepts(&(struct event_view){ .l1_exceptions = ~0u }, &vectorings[1]), "L1 takes from L2 only", NULL, NULL);
}

/* ---- all of it ---- */

static void check_state(u64 key)
{
	struct event_queue q;

	queue_of(key, &q);
	/* KVM_RUN settles before it asks. */
	for (unsigned int i = 0; i < nr_views && !model_failure && !q.irq_unsettled; i++) {
		check_next(&q, &views[i]);
		if (i % 5 == 0)
			check_wakes(&q, &views[i]);
	}
	if (model_failure)
		return;
	try_inbox(&q);
	try_user(&q);
	try_guest(&q);
	try_machine_check(&q);
	try_l1(&q);
	check_dry(&q, &config->base);
	check_image(&q, config, key);
}

struct tally explore(const struct config *c, u64 limit)
{
	const struct event_queue reset = {};
	struct tally t;

	config = c;
	nr_views = make_views(c, views);
	transitions = todo_count = 0;
	add(&reset);
	for (u64 i = 0; i < todo_count && i < limit && !model_failure; i++)
		check_state(todo[i]);
	t = (struct tally) { .states = seen.count, .transitions = transitions };
	free(seen.slots);
	free(entered.slots);
	memset(&seen, 0, sizeof(seen));
	memset(&entered, 0, sizeof(entered));
	config = NULL;
	return t;
}
