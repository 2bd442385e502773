// SPDX-License-Identifier: GPL-2.0
/*
 * Save and restore at every state: DESIGN's invariants 1 to 6 and 8 as far as the queue goes.
 *
 * An image is what one round of GETs gives: the events, the interrupt bitmap, MP state, and of
 * nested state what concerns the queue. It is restored into a fresh queue in every order of the
 * SETs, and must leave the queue it was taken from.
 */
#include <linux/errno.h>
#include <linux/strata.h>

#include "model.h"

struct image {
	struct kvm_vcpu_events events;
	__u64 bitmap[4];
	bool mp_sipi;
	bool run_pending;
	struct event injected;
};

enum set { SET_EVENTS, SET_SREGS, SET_NESTED, SET_MP_STATE, SET_REGS, NR_SETS };

static const struct event_abi abi_full = { .payload = true, .triple_fault = true, .smm = true, .strata = true };

static void get_image(const struct event_queue *q, const struct event_abi *abi,
		      const struct event_view *v, struct image *m)
{
	memset(m, 0, sizeof(*m));
	event_save(q, 0, 0, abi, v, &m->events);
	event_save_bitmap(q, m->bitmap);
	m->mp_sipi = event_sipi_pending(q, v);
	m->run_pending = q->run_pending;
	if (q->run_pending)
		m->injected = q->delivering;
}

static void set_image(struct event_queue *q, const struct event_abi *abi, const struct image *m,
		      enum set set)
{
	switch (set) {
	case SET_EVENTS:
		event_restore(q, &m->events, abi);
		break;
	case SET_SREGS:
		event_restore_bitmap(q, m->bitmap);
		break;
	case SET_NESTED:
		if (m->run_pending)
			event_nested_begin(q, &m->injected);
		else
			event_nested_cancel(q);
		break;
	case SET_MP_STATE:
		q->sipi = m->mp_sipi;
		break;
	case SET_REGS:
		event_drop_exception(q);
		break;
	default:
		break;
	}
}

/*
 * What a restored queue is to be: without what happens again by itself, and without a SIPI that
 * nothing waits for.
 */
static struct event_queue expected(const struct event_queue *q, const struct event_view *v)
{
	bool resets = q->init && v->gif && !q->smm && !(v->vmxon && !v->guest_mode) &&
		      !(v->guest_mode && v->l1_init);
	struct event_queue e = *q;

	if (e.delivering.replay)
		memset(&e.delivering, 0, sizeof(e.delivering));
	if (e.exception.replay)
		memset(&e.exception, 0, sizeof(e.exception));
	e.exception_user = e.exception.type;
	e.sipi = q->sipi && ((v->wait_for_sipi && !v->uninitialized) || resets);
	if (!e.sipi)
		e.sipi_vector = 0;
	return e;
}

static void check_order(const struct event_queue *q, const struct event_view *v,
			const struct image *m, const enum set *order)
{
	struct event_queue fresh = {}, want = expected(q, v);

	for (unsigned int i = 0; i < NR_SETS; i++)
		set_image(&fresh, &abi_full, m, order[i]);
	expect_at(!memcmp(&fresh, &want, sizeof(want)), "set(get) in any order continues alike", q,
		  v);
}

static void check_orders(const struct event_queue *q, const struct event_view *v,
			 const struct image *m, enum set *order, unsigned int n)
{
	if (n == NR_SETS)
		check_order(q, v, m, order);
	for (unsigned int i = n; i < NR_SETS; i++) {
		enum set other = order[i];

		order[i] = order[n];
		order[n] = other;
		check_orders(q, v, m, order, n + 1);
		order[n] = order[i];
		order[i] = other;
	}
}

static bool same_events(const struct kvm_vcpu_events *a, const struct kvm_vcpu_events *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Invariant 4: what belongs to vmcb12/vmcs12 is in neither. */
static void check_hidden(const struct event_queue *q, const struct image *m)
{
	const struct kvm_vcpu_events *e = &m->events;
	u64 any = m->bitmap[0] | m->bitmap[1] | m->bitmap[2] | m->bitmap[3];

	if (!q->run_pending)
		return;
	expect_at(!e->exception.injected && !e->nmi.injected, "what L1 injects is not L2's event",
		  q, NULL);
	expect_at(e->interrupt.injected == !!q->irq_stashed &&
			  !!any == (q->irq_stashed && !q->irq_soft),
		  "what L1 injects is not L2's interrupt", q, NULL);
}

/* Invariant 5, and the interrupt as the two ioctls show it */
static void check_shown(const struct event_queue *q, const struct image *m)
{
	const struct kvm_vcpu_events *e = &m->events;
	const struct event *d = &q->delivering;
	bool external = d->type == EVENT_INTERRUPT && !q->run_pending;
	bool soft = d->type == EVENT_SOFT_INT && !q->run_pending && !d->replay;
	u8 nr = external || soft ? d->vector : q->irq_vector;
	__u64 bitmap[4] = {};

	if (d->replay && !q->run_pending)
		expect_at(!e->exception.injected, "what happens again by itself is not reported", q,
			  NULL);
	expect_at(e->interrupt.injected == (external || soft || q->irq_stashed),
		  "interrupt.injected", q, NULL);
	if (!e->interrupt.injected)
		return;
	expect_at(e->interrupt.nr == nr, "interrupt.nr", q, NULL);
	expect_at(e->interrupt.soft == (soft || (!external && q->irq_soft)), "interrupt.soft", q,
		  NULL);
	if (!e->interrupt.soft)
		bitmap[nr / 64] = 1ull << nr % 64;
	expect_at(!memcmp(bitmap, m->bitmap, sizeof(bitmap)), "the bitmap says the same", q, NULL);
}

/* Getters see the inbox as if it had been drained, and leave it. */
static void check_inbox(const struct event_queue *q, const struct event_view *v)
{
	struct kvm_vcpu_events a, b;

	for (unsigned long inbox = 0; inbox < 64; inbox++) {
		struct event_queue drained = *q;

		event_drain(&drained, inbox, SIPI_VECTOR);
		event_save(q, inbox, SIPI_VECTOR, &abi_full, v, &a);
		event_save(&drained, 0, 0, &abi_full, v, &b);
		expect_at(same_events(&a, &b), "getters report queue and inbox", q, v);
	}
}

static bool is_exception(u8 type)
{
	return type == EVENT_EXCEPTION || type == EVENT_SOFT_EXCEPTION ||
	       type == EVENT_PRIV_EXCEPTION;
}

/*
 * The plain ABI, with and without the payload: stable, and it loses only what
 * Documentation/abi-events.rst lists: INT1 in delivery, an interrupt beside the one it shows,
 * held-back debug causes, MTF and timer, a triple fault without its capability.
 */
static void check_plain(const struct event_queue *q, const struct config *c, bool payload)
{
	const struct event_abi abi = { .payload = payload, .triple_fault = payload, .smm = true };
	const struct event *d = &q->delivering;
	struct event_queue fresh = {}, before = expected(q, &c->base);
	struct kvm_vcpu_events a, b;
	struct taken had, has;
	bool shown;

	event_save(q, 0, 0, &abi, &c->base, &a);
	expect_at(!event_restore_check(&a, &abi), "what GET gives SET takes", q, NULL);
	event_restore(&fresh, &a, &abi);
	event_save(&fresh, 0, 0, &abi, &c->base, &b);
	if (d->type == EVENT_PRIV_EXCEPTION && !q->exception.type)
		expect_at(!a.exception.injected, "INT1 has no place in the plain ABI", q, NULL);
	b.flags |= a.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	b.sipi_vector = a.sipi_vector;
	expect_at(same_events(&a, &b), "the plain image is stable", q, NULL);

	if (q->run_pending || q->init || q->triple_fault)
		return;
	if (!payload)
		expect_at(!fresh.exception.type, "without payloads nothing is pending", q, NULL);
	run_dry(before, &c->base, &had);
	run_dry(fresh, &c->base, &has);
	shown = d->type == EVENT_INTERRUPT || (d->type == EVENT_SOFT_INT && !d->replay);
	had.interrupts -= shown ? q->irq_stashed : q->irq_stashed > 1;
	expect_at(had.interrupts == has.interrupts && had.nmis == has.nmis && had.smis == has.smis,
		  "the plain ABI loses no interrupt, NMI or SMI", q, NULL);
	if (d->type == EVENT_PRIV_EXCEPTION || !payload)
		return;
	expect_at(had.exceptions == has.exceptions, "the plain ABI loses no exception", q, NULL);
}

/* Invariant 1: for the older ABI, CR2 and DR6 as they will be */
static void check_views(const struct event_queue *q)
{
	const struct event_abi older = {};
	const struct event *e = &q->exception;
	bool pf = e->type == EVENT_EXCEPTION && e->vector == 14 && e->has_payload;
	bool db = is_exception(e->type) && e->vector == 1 && e->has_payload;
	u64 dr6 = db ? 0xffff0ff0 | e->payload : 0xffff0ff5;

	expect_at(event_view_cr2(q, &older, 5) == (pf ? e->payload : 5), "CR2 for the older ABI", q, NULL);
	expect_at(event_view_dr6(q, &older, 0xffff0ff5) == dr6, "DR6 for the older ABI", q, NULL);
	expect_at(event_view_cr2(q, &abi_full, 5) == 5, "CR2 as it is", q, NULL);
	expect_at(event_view_dr6(q, &abi_full, 5) == 5, "DR6 as it is", q, NULL);
}

static void check_renamed(const struct event_queue *q, const struct event_view *v,
			  const struct image *m)
{
	struct kvm_vcpu_events want = m->events, got;
	struct event_queue other = *q;

	rename_queue(&other);
	rename_image(&want);
	event_save(&other, 0, 0, &abi_full, v, &got);
	expect_at(same_events(&want, &got), "renaming the alphabet renames the image", q, v);
}

void check_image(const struct event_queue *q, const struct config *c, u64 key)
{
	enum set order[NR_SETS] = { SET_EVENTS, SET_SREGS, SET_NESTED, SET_MP_STATE, SET_REGS };
	static const enum set reverse[NR_SETS] = { SET_REGS, SET_MP_STATE, SET_NESTED, SET_SREGS, SET_EVENTS };
	struct event_view v = c->base;
	struct event_queue copy = *q;
	struct image a, b;
	u8 shadow;

	v.shadow = key % 3;
	v.wait_for_sipi = key % 2;
	v.uninitialized = key % 4 == 3;
	get_image(q, &abi_full, &v, &a);
	get_image(q, &abi_full, &v, &b);
	expect_at(!memcmp(&a, &b, sizeof(a)) && !memcmp(&copy, q, sizeof(copy)),
		  "getters change nothing", q, &v);
	expect_at(!event_restore_check(&a.events, &abi_full), "what GET gives SET takes", q, &v);
	expect_at(event_restore_shadow(&a.events, &shadow) && shadow == v.shadow,
		  "the shadow is in the image", q, &v);
	check_order(q, &v, &a, order);
	check_order(q, &v, &a, reverse);
	/* The latches are independent of the order: all 120 orders where they are clear. */
	if (!(q->smi | q->init | q->sipi | q->triple_fault))
		check_orders(q, &v, &a, order, 0);
	check_hidden(q, &a);
	check_shown(q, &a);
	check_plain(q, c, true);
	check_plain(q, c, false);
	check_views(q);
	check_renamed(q, &v, &a);
	if (key % 7 == 0)
		check_inbox(q, &v);
}

/* What a SET replaces is not to come once more from the inbox; nothing else is forgotten. */
static void check_stale_inbox(void)
{
	static const struct { u32 flag; unsigned long bits; } replaced[] = {
		{ 0, 0 },
		{ KVM_VCPUEVENT_VALID_NMI_PENDING, 1ul << INBOX_NMI | 1ul << INBOX_NMI2 },
		{ KVM_VCPUEVENT_VALID_SMM, 1ul << INBOX_INIT | 1ul << INBOX_SMI },
		{ KVM_VCPUEVENT_VALID_TRIPLE_FAULT, 1ul << INBOX_TRIPLE },
		{ KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_PAYLOAD, 0 },
	};

	for (unsigned int i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++) {
		const struct kvm_vcpu_events e = { .flags = replaced[i].flag };

		expect_at(event_restore_inbox(&e, &abi_full) == replaced[i].bits,
			  "a SET replaces what is in the inbox", NULL, NULL);
	}
}

/* Input that is refused, each otherwise valid; and that a flag off leaves its fields alone. */
void check_refusals(void)
{
	const struct event_abi none = {};
	struct kvm_vcpu_events ok = {}, e;
	struct event_queue q = { .smi = true, .triple_fault = true, .nmi_pending = 1, .sipi = true, .sipi_vector = SIPI_VECTOR };

#define REFUSED(abi, ...) do { e = ok; __VA_ARGS__; expect_at(event_restore_check(&e, abi) == -EINVAL, #__VA_ARGS__, NULL, NULL); } while (0)
#define TAKEN(abi, ...) do { e = ok; __VA_ARGS__; expect_at(!event_restore_check(&e, abi), #__VA_ARGS__, NULL, NULL); } while (0)
	TAKEN(&none, (void)e);
	REFUSED(&abi_full, e.flags = 0x40);
	REFUSED(&none, e.flags = KVM_VCPUEVENT_VALID_PAYLOAD);
	TAKEN(&abi_full, e.flags = KVM_VCPUEVENT_VALID_PAYLOAD);
	REFUSED(&none, e.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	TAKEN(&abi_full, e.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	REFUSED(&none, e.exception.injected = 1; e.exception.nr = 32);
	REFUSED(&none, e.exception.injected = 1; e.exception.nr = 2);
	TAKEN(&none, e.exception.nr = 32);
	TAKEN(&none, e.exception.pending = 1; e.exception.nr = 32);
	REFUSED(&abi_full, e.flags = KVM_VCPUEVENT_VALID_PAYLOAD; e.exception.pending = 1; e.exception.nr = 2);
	REFUSED(&none, e.flags = KVM_VCPUEVENT_VALID_SMM; e.smi.smm = 1);
	TAKEN(&none, e.flags = KVM_VCPUEVENT_VALID_SMM; e.smi.latched_init = 1);
	TAKEN(&none, e.smi.smm = 1);
	TAKEN(&none, e.reserved[25] = 1);
	REFUSED(&abi_full, e.reserved[25] = 1);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[19] = 1);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[20] = 1);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID | 0x40);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH2);
	TAKEN(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH | STRATA_EVENTS_STASH2; e.reserved[19] = 1);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[1] = 7);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[2] = 16);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[3] = STRATA_EVENT_NMI);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[4] = 16);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[5] = 1);
	REFUSED(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[6] = 0x10);
	TAKEN(&abi_full, e.reserved[0] = STRATA_EVENTS_VALID);
	/* An I/O instruction: none that there is not */
#define IO(flags, len, asize) e.reserved[0] = STRATA_EVENTS_VALID; e.reserved[14] = flags; e.reserved[15] = len; e.reserved[16] = asize
	TAKEN(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8, 2, 0); e.reserved[17] = 0xb2);
	TAKEN(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_IN | STRATA_IO_32 | STRATA_IO_STRING, 1, 2));
	TAKEN(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_16 | STRATA_IO_STRING | STRATA_IO_REP, 0, 8));
	REFUSED(&abi_full, IO(STRATA_IO_8, 2, 0));
	REFUSED(&abi_full, IO(0, 1, 0));
	REFUSED(&abi_full, IO(0, 0, 0); e.reserved[18] = 1);
	REFUSED(&abi_full, IO(STRATA_IO_VALID, 2, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8 | STRATA_IO_16, 2, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8 | 0x80, 2, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8, 0, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8, 16, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8 | STRATA_IO_REP, 2, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8, 2, 8));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8 | STRATA_IO_STRING, 2, 0));
	REFUSED(&abi_full, IO(STRATA_IO_VALID | STRATA_IO_8 | STRATA_IO_STRING, 2, 3));
#undef IO
#undef REFUSED
#undef TAKEN
	ok.sipi_vector = 0x55;
	event_restore(&q, &ok, &abi_full);
	expect_at(q.smi && q.triple_fault && q.nmi_pending == 1 && q.sipi_vector == SIPI_VECTOR,
		  "fields whose flag is not set are ignored", &q, NULL);
	q.pending_dbg = q.smm_dbg = TRAP_CAUSE;
	q.mtf = q.timer = true;
	event_restore(&q, &ok, &none);
	expect_at(!q.pending_dbg && !q.smm_dbg && !q.mtf && !q.timer, "what the plain ABI has no place for is of the state that goes", &q, NULL);
	e = (struct kvm_vcpu_events) { .flags = KVM_VCPUEVENT_VALID_PAYLOAD };
	e.exception.injected = e.exception.pending = 1;
	e.exception.nr = 6;
	event_restore(&q, &e, &abi_full);
	expect_at(q.exception.vector == 6 && !q.delivering.type, "pending wins over injected", &q,
		  NULL);
	e.flags = 0;
	event_restore(&q, &e, &abi_full);
	expect_at(!q.exception.type && q.delivering.vector == 6,
		  "without the flag pending is ignored", &q, NULL);
	e.nmi.injected = 1;
	q.nmi_pending = 0;
	event_restore(&q, &e, &abi_full);
	expect_at(q.delivering.type == EVENT_EXCEPTION && q.nmi_pending == 1,
		  "of two events injected the NMI waits", &q, NULL);
	e = (struct kvm_vcpu_events) { .exception = { .injected = 1, .nr = EVENT_BP } };
	event_restore(&q, &e, &none);
	expect_at(q.delivering.type == EVENT_SOFT_EXCEPTION && q.delivering.len == 1,
		  "vector 3 is INT3", &q, NULL);
	e.exception.has_error_code = 1;
	e.exception.error_code = 5;
	event_restore(&q, &e, &none);
	expect_at(!q.delivering.has_error && !q.delivering.error,
		  "an instruction's exception has no error code", &q, NULL);
	check_stale_inbox();
}
