// SPDX-License-Identifier: GPL-2.0
/*
 * The alphabet of the model: machines, events, and the numbers they are stored under.
 *
 *	benign exception	#UD
 *	contributory exception	#GP with an error code
 *	page fault		#PF with one of two payloads
 *	double fault		#DF (by merging, and from the CPU)
 *	debug trap		#DB with a payload of one cause; held back by MOV SS or an SMI, the same cause
 *	soft			INT3, INT1, INT n (of a contributory vector), each with a length
 *	interrupts		NMI; external with one of two vectors
 *	latches			SMI, INIT, SIPI with a vector, shutdown, MTF, timer
 *
 * rename_*() map it to another alphabet of the same shape: other vectors of the same class, other
 * error codes, payloads, lengths, causes. What the code does must be mapped the same way, so it
 * looks at nothing finer than the shape.
 */
#include "model.h"

#define ERROR_GP	0x18
#define ERROR_PF	2
#define PAYLOAD_A	0x1000
#define PAYLOAD_B	0x2000

const struct event vectorings[] = {
	{},
	{ .type = EVENT_EXCEPTION, .vector = 6 },
	{ .type = EVENT_EXCEPTION, .vector = 13, .has_error = true, .error = ERROR_GP },
	{ .type = EVENT_EXCEPTION, .vector = 14, .has_error = true, .error = ERROR_PF },
	{ .type = EVENT_EXCEPTION, .vector = 8, .has_error = true },
	{ .type = EVENT_EXCEPTION, .vector = 1 },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 3, .len = 1 },
	{ .type = EVENT_PRIV_EXCEPTION, .vector = 1, .len = 1 },
	{ .type = EVENT_SOFT_INT, .vector = VECTOR_SOFT, .len = 2 },
	{ .type = EVENT_NMI, .vector = 2 },
	{ .type = EVENT_INTERRUPT, .vector = VECTOR_A },
	{ .type = EVENT_INTERRUPT, .vector = VECTOR_B },
};
const unsigned int nr_vectorings = sizeof(vectorings) / sizeof(vectorings[0]);

const struct event raises[] = {
	{},
	{ .type = EVENT_EXCEPTION, .vector = 6 },
	{ .type = EVENT_EXCEPTION, .vector = 13, .has_error = true, .error = ERROR_GP },
	{ .type = EVENT_EXCEPTION, .vector = 14, .has_error = true, .error = ERROR_PF, .has_payload = true, .payload = PAYLOAD_A },
	{ .type = EVENT_EXCEPTION, .vector = 14, .has_error = true, .error = ERROR_PF, .has_payload = true, .payload = PAYLOAD_B },
	{ .type = EVENT_EXCEPTION, .vector = 1, .has_payload = true, .payload = TRAP_CAUSE },
	{ .type = EVENT_SOFT_EXCEPTION, .vector = 3, .len = 1 },
	{ .type = EVENT_PRIV_EXCEPTION, .vector = 1, .len = 1 },
	{ .type = EVENT_SOFT_INT, .vector = VECTOR_SOFT, .len = 2 },
};
const unsigned int nr_raises = sizeof(raises) / sizeof(raises[0]);

#define L1_VMX	.gif = true, .nmi_sti_blocked = true
#define L1_SVM	.gif = true
#define L2_VMX	.gif = true, .nmi_sti_blocked = true, .guest_mode = true, .l1_init = true, .l1_shutdown = true, \
		.l1_exit_takes = true, .l1_pending_dbg = true
#define L2_SVM	.gif = true, .guest_mode = true

const struct config configs[] = {
	{ .name = "L1, VMX, no irqchip", .base = { L1_VMX }, .vary_vmxon = true },
	{ .name = "L1, SVM, split irqchip", .base = { L1_SVM, .irqchip = IRQCHIP_SPLIT }, .vary_gif = true },
	{ .name = "L1, SVM, full irqchip", .base = { L1_SVM, .irqchip = IRQCHIP_FULL }, .vary_gif = true },
	{ .name = "L2, SVM, L1 intercepts nothing", .base = { L2_SVM }, .vary_gif = true },
	{ .name = "L2, SVM, L1 intercepts all", .base = { L2_SVM, .l1_exceptions = ~0u, .l1_intr = true, .l1_nmi = true,
	  .l1_smi = true, .l1_init = true, .l1_shutdown = true }, .vary_gif = true },
	{ .name = "L2, VMX, L1 intercepts all", .base = { L2_VMX, .l1_exceptions = ~0u, .l1_intr = true, .l1_nmi = true,
	  .l1_ack_intr = true, .irqchip = IRQCHIP_FULL } },
	/* #PF of one error code and #DF */
	{ .name = "L2, VMX, L1 intercepts little", .base = { L2_VMX, .l1_exceptions = 1u << 8, .l1_pf_mask = 1,
	  .l1_pf_match = 1 } },
};
const unsigned int nr_configs = sizeof(configs) / sizeof(configs[0]);

static unsigned int vary(struct event_view *views, unsigned int n, size_t field, u8 values)
{
	unsigned int total = n;

	for (u8 value = 1; value < values; value++)
		for (unsigned int i = 0; i < n; i++) {
			views[total] = views[i];
			((u8 *)&views[total++])[field] = value;
		}
	return total;
}

unsigned int make_views(const struct config *c, struct event_view *views)
{
	unsigned int n = 1, waiting;

	views[0] = c->base;
	if (c->vary_gif) {
		views[0].gif = false;
		n = vary(views, n, offsetof(struct event_view, gif), 2);
	}
	if (c->vary_vmxon)
		n = vary(views, n, offsetof(struct event_view, vmxon), 2);
	waiting = n;
	n = vary(views, n, offsetof(struct event_view, intr_open), 2);
	n = vary(views, n, offsetof(struct event_view, shadow), 3);
	/* That a full irqchip knows no windows is seen in L1. */
	if (!c->base.guest_mode || c->base.irqchip != IRQCHIP_FULL)
		n = vary(views, n, offsetof(struct event_view, want_window), 2);
	if (c->base.irqchip != IRQCHIP_NONE)
		n = vary(views, n, offsetof(struct event_view, chip_vector), 2);
	if (c->base.irqchip == IRQCHIP_SPLIT)
		n = vary(views, n, offsetof(struct event_view, chip_accepts_extint), 2);
	/* In the wait-for-SIPI state only what blocks INIT matters. */
	for (unsigned int i = 0; i < waiting; i++) {
		views[n] = views[i];
		views[n++].wait_for_sipi = true;
		views[n] = views[n - 1];
		views[n++].uninitialized = true;
	}
	return n;
}

/* Every distinct struct event seen, by number. The alphabet is finite, and so is this. */
#define MAX_EVENTS 64
static struct event events[MAX_EVENTS];
static unsigned int nr_events = 1;

/* Where an event probably is; found again, it need not be looked for. */
static u8 hints[256];

static unsigned int event_number(const struct event *e)
{
	u8 *hint =
		&hints[(e->type * 37 + e->vector * 5 + e->len * 3 + e->replay + e->payload / 1024) &
		       255];
	unsigned int i;

	if (!memcmp(&events[*hint], e, sizeof(*e)))
		return *hint;
	for (i = 0; i < nr_events; i++)
		if (!memcmp(&events[i], e, sizeof(*e))) {
			*hint = i;
			return i;
		}
	if (!expect_at(i < MAX_EVENTS, "the alphabet is closed", NULL, NULL))
		return 0;
	events[nr_events++] = *e;
	return i;
}

static const u8 vectors[] = { 0, VECTOR_A, VECTOR_B, VECTOR_SOFT };

struct field {
	size_t offset;
	u8 bits;
};

#define BOOL(f) { offsetof(struct event_queue, f), 1 }
static const struct field fields[] = {
	{ offsetof(struct event_queue, nmi_pending), 2 },
	{ offsetof(struct event_queue, irq_stashed), 2 }, BOOL(smi), BOOL(init), BOOL(sipi), BOOL(triple_fault), BOOL(mtf), BOOL(timer),
	BOOL(exception_user), BOOL(irq_unsettled), BOOL(irq_soft), BOOL(nmi_masked), BOOL(run_pending), BOOL(smm),
	BOOL(smm_inside_nmi),
};

u64 key_of(const struct event_queue *q)
{
	u64 key = event_number(&q->delivering) | event_number(&q->exception) << 6;
	struct event_queue back;
	unsigned int shift = 12;

	key |= (u64)(q->pending_dbg == TRAP_CAUSE) << shift++;
	key |= (u64)(q->smm_dbg == TRAP_CAUSE) << shift++;
	key |= (u64)(q->sipi_vector == SIPI_VECTOR) << shift++;
	for (unsigned int i = 0; i < sizeof(vectors); i++)
		if (q->irq_vector == vectors[i])
			key |= (u64)i << shift;
	shift += 2;
	for (unsigned int i = 0; i < sizeof(vectors); i++)
		if (q->irq_next == vectors[i])
			key |= (u64)i << shift;
	shift += 2;
	for (unsigned int i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		key |= (u64)((const u8 *)q)[fields[i].offset] << shift;
		shift += fields[i].bits;
	}
	queue_of(key, &back);
	expect_at(!memcmp(&back, q, sizeof(back)), "the queue holds nothing but the alphabet", q,
		  NULL);
	return key;
}

void queue_of(u64 key, struct event_queue *q)
{
	unsigned int shift = 12;

	memset(q, 0, sizeof(*q));
	q->delivering = events[key & 63];
	q->exception = events[key >> 6 & 63];
	q->pending_dbg = (key >> shift++ & 1) * TRAP_CAUSE;
	q->smm_dbg = (key >> shift++ & 1) * TRAP_CAUSE;
	q->sipi_vector = (key >> shift++ & 1) * SIPI_VECTOR;
	q->irq_vector = vectors[key >> shift & 3];
	shift += 2;
	q->irq_next = vectors[key >> shift & 3];
	shift += 2;
	for (unsigned int i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		((u8 *)q)[fields[i].offset] = key >> shift & ((1u << fields[i].bits) - 1);
		shift += fields[i].bits;
	}
}

/*
 * Benign for benign, contributory for contributory, INTO for INT3; #DB, #DF, #PF and NMI are alone
 * in their classes.
 */
static u8 rename_vector(u8 vector)
{
	static const u8 pairs[][2] = { { 6, 7 }, { 13, 11 }, { 3, 4 }, { VECTOR_A, 0x91 }, { VECTOR_B, 0xf2 } };

	for (unsigned int i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (vector == pairs[i][0])
			return pairs[i][1];
	return vector;
}

static u64 rename_causes(u64 causes)
{
	return causes == TRAP_CAUSE ? 0x2 : causes;
}

void rename_event(struct event *e)
{
	e->vector = rename_vector(e->vector);
	if (e->len)
		e->len += 3;
	if (e->has_error && e->vector != EVENT_DF)
		e->error ^= 0x40;
	if (e->has_payload)
		e->payload = e->vector == EVENT_DB ? rename_causes(e->payload) : e->payload + 0x777;
}

void rename_queue(struct event_queue *q)
{
	rename_event(&q->delivering);
	rename_event(&q->exception);
	q->pending_dbg = rename_causes(q->pending_dbg);
	q->smm_dbg = rename_causes(q->smm_dbg);
	if (q->irq_stashed)
		q->irq_vector = rename_vector(q->irq_vector);
	if (q->irq_stashed > 1)
		q->irq_next = rename_vector(q->irq_next);
	if (q->sipi_vector)
		q->sipi_vector++;
}

void rename_view(struct event_view *v)
{
	u32 old = v->l1_exceptions;

	for (u8 i = 0; i < 32; i++)
		if (rename_vector(i) != i) {
			v->l1_exceptions &= ~(1u << rename_vector(i));
			v->l1_exceptions |= (old >> i & 1) << rename_vector(i);
		}
}

void rename_image(struct kvm_vcpu_events *e)
{
	u8 *len = &e->reserved[2], *pending_len = &e->reserved[4], *stash = &e->reserved[5];
	u8 vector = e->exception.nr;

	e->exception.nr = rename_vector(vector);
	e->interrupt.nr = rename_vector(e->interrupt.nr);
	if (e->exception.has_error_code && vector != EVENT_DF)
		e->exception.error_code ^= 0x40;
	if (e->exception_has_payload)
		e->exception_payload = vector == EVENT_DB ? rename_causes(e->exception_payload) : e->exception_payload + 0x777;
	if (e->sipi_vector)
		e->sipi_vector++;
	*len += *len ? 3 : 0;
	*pending_len += *pending_len ? 3 : 0;
	*stash = rename_vector(*stash);
	e->reserved[19] = rename_vector(e->reserved[19]);
	/*
	 * pending_dbg and smm_dbg, little endian at 6 and 10: the one cause of the alphabet is in
	 * their second byte
	 */
	for (unsigned int i = 6; i <= 10; i += 4)
		if (e->reserved[i + 1] == TRAP_CAUSE >> 8) {
			e->reserved[i + 1] = 0;
			e->reserved[i] = 0x2;
		}
}
