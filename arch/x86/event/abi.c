// SPDX-License-Identifier: GPL-2.0
/*
 * The event queue as userspace sees it.
 *
 * Invariants: getters change nothing; what is restored from an image goes on as the saved queue
 * would (what the plain ABI cannot carry rides in struct strata_events); an event that belongs to
 * vmcb12/vmcs12 (run_pending) and a soft event that happens again by itself are not shown.
 */
#include "abi.h"

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/stddef.h>
#include <linux/strata.h>
#include <linux/string.h>

#include "queue.h"

static_assert(sizeof(struct strata_events) == sizeof(((struct kvm_vcpu_events *)NULL)->reserved));
static_assert(sizeof(struct kvm_vcpu_events) == 64);
static_assert(offsetof(struct kvm_vcpu_events, reserved) == 29);
static_assert(offsetof(struct strata_events, delivering_kind) == 1);
static_assert(offsetof(struct strata_events, delivering_len) == 2);
static_assert(offsetof(struct strata_events, pending_kind) == 3);
static_assert(offsetof(struct strata_events, pending_len) == 4);
static_assert(offsetof(struct strata_events, stash_nr) == 5);
static_assert(offsetof(struct strata_events, pending_dbg) == 6);
static_assert(offsetof(struct strata_events, smm_dbg) == 10);
static_assert(offsetof(struct strata_events, io_flags) == 14);
static_assert(offsetof(struct strata_events, io_port) == 17);
static_assert(offsetof(struct strata_events, stash_next) == 19);
static_assert(offsetof(struct strata_events, reserved) == 20);

/* The queue's types are the ABI's kinds. */
static_assert(EVENT_NONE == STRATA_EVENT_NONE);
static_assert(EVENT_INTERRUPT == STRATA_EVENT_INTERRUPT);
static_assert(EVENT_NMI == STRATA_EVENT_NMI);
static_assert(EVENT_EXCEPTION == STRATA_EVENT_EXCEPTION);
static_assert(EVENT_SOFT_INT == STRATA_EVENT_SOFT_INT);
static_assert(EVENT_SOFT_EXCEPTION == STRATA_EVENT_SOFT_EXCEPTION);
static_assert(EVENT_PRIV_EXCEPTION == STRATA_EVENT_PRIV_EXCEPTION);

#define ALL_FLAGS                                                                             \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                  \
	 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | \
	 KVM_VCPUEVENT_VALID_TRIPLE_FAULT)

/*
 * What is in delivery and shown: not vmcb12's or vmcs12's, and nothing that happens again by
 * itself.
 */
static struct event shown_delivering(const struct event_queue *q)
{
	if (EVENT_RULE(SAVE_HIDES_L1, q->run_pending) ||
	    EVENT_RULE(SAVE_HIDES_REPLAY, q->delivering.replay))
		return (struct event) {};
	return q->delivering;
}

static struct event shown_exception(const struct event_queue *q)
{
	return EVENT_RULE(SAVE_HIDES_RAISED, q->exception.replay) ? (struct event) {} : q->exception;
}

static void save_exception(const struct event_queue *q, const struct event_abi *abi,
			   struct kvm_vcpu_events *out)
{
	struct event d = shown_delivering(q), e = shown_exception(q);
	bool in_delivery = event_is_exception(d.type);

	/* The older ABI knows one kind of exception; INT1 is none of its own. */
	if (EVENT_RULE(SAVE_PLAIN_INT1, d.type == EVENT_PRIV_EXCEPTION && !abi->strata))
		in_delivery = false;
	if (!in_delivery && e.type) {
		out->exception.pending = EVENT_RULE(SAVE_PENDING, abi->payload);
		out->exception.injected = !abi->payload;
		out->exception_has_payload = abi->payload && e.has_payload;
		out->exception_payload = abi->payload ? e.payload : 0;
		d = e;
	} else if (in_delivery) {
		out->exception.injected = 1;
	} else {
		return;
	}
	out->exception.nr = d.vector;
	out->exception.has_error_code = d.has_error;
	out->exception.error_code = d.error;
}

/* The interrupt as the ABI shows it: the one in delivery, else the stash. */
static bool shown_interrupt(const struct event_queue *q, u8 *vector, bool *soft)
{
	struct event d = shown_delivering(q);

	*soft = d.type == EVENT_SOFT_INT;
	*vector = d.vector;
	if (*soft || d.type == EVENT_INTERRUPT)
		return true;
	*vector = q->irq_vector;
	*soft = q->irq_soft;
	return EVENT_RULE(SAVE_STASH, q->irq_stashed);
}

static void save_strata(const struct event_queue *q, struct kvm_vcpu_events *out)
{
	struct event d = shown_delivering(q), e = shown_exception(q);
	struct strata_events s = {
		.flags = STRATA_EVENTS_VALID,
		.delivering_kind = d.type,
		.delivering_len = d.len,
		.pending_kind = e.type,
		.pending_len = e.len,
		.pending_dbg = q->pending_dbg,
		.smm_dbg = q->smm_dbg,
	};

	/* A stash that is still to be settled is what the plain ABI says. */
	if (EVENT_RULE(SAVE_SETTLED, q->irq_stashed && !q->irq_unsettled)) {
		s.flags |= STRATA_EVENTS_STASH;
		s.stash_nr = q->irq_vector;
	}
	if (EVENT_RULE(SAVE_STASH2, q->irq_stashed > 1)) {
		s.flags |= STRATA_EVENTS_STASH2;
		s.stash_next = q->irq_next;
	}
	s.flags |= q->mtf ? STRATA_EVENTS_MTF : 0;
	s.flags |= q->timer ? STRATA_EVENTS_TIMER : 0;
	memcpy(out->reserved, &s, sizeof(s));
}

static u8 shadow_to_abi(u8 shadow)
{
	return (shadow & SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) | (shadow & SHADOW_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0);
}

void event_save(const struct event_queue *queue, unsigned long inbox, u8 sipi_vector,
		const struct event_abi *abi, const struct event_view *v,
		struct kvm_vcpu_events *out)
{
	struct event_queue q = *queue;
	bool soft;

	if (EVENT_RULE(SAVE_INBOX, true))
		event_drain(&q, inbox, sipi_vector);
	*out = (struct kvm_vcpu_events) {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM,
	};
	save_exception(&q, abi, out);
	if (abi->payload)
		out->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	out->interrupt.injected = shown_interrupt(&q, &out->interrupt.nr, &soft);
	if (!out->interrupt.injected)
		out->interrupt.nr = 0;
	out->interrupt.soft = soft;
	out->interrupt.shadow = shadow_to_abi(v->shadow);
	out->nmi.injected = shown_delivering(&q).type == EVENT_NMI;
	out->nmi.pending = q.nmi_pending;
	out->nmi.masked = q.nmi_masked;
	if (EVENT_RULE(SAVE_SIPI, event_sipi_pending(&q, v))) {
		out->flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
		out->sipi_vector = q.sipi_vector;
	}
	if (abi->smm) {
		out->smi.smm = q.smm;
		out->smi.pending = q.smi;
		out->smi.smm_inside_nmi = q.smm_inside_nmi;
	}
	out->smi.latched_init = q.init;
	if (EVENT_RULE(SAVE_TRIPLE, abi->triple_fault)) {
		out->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		out->triple_fault.pending = q.triple_fault;
	}
	if (abi->strata)
		save_strata(&q, out);
}

static bool all_zero(const u8 *bytes, size_t size)
{
	while (size)
		if (bytes[--size])
			return false;
	return true;
}

/*
 * An I/O instruction as there can be: one size; REP of strings only, and only those stay where they
 * are.
 */
static bool io_legal(const struct strata_events *s)
{
	u8 size = s->io_flags & (STRATA_IO_8 | STRATA_IO_16 | STRATA_IO_32);
	bool string = s->io_flags & STRATA_IO_STRING, rep = s->io_flags & STRATA_IO_REP;

	if (!(s->io_flags & STRATA_IO_VALID))
		return !EVENT_RULE(CHECK_IO_NONE,
				   s->io_flags | s->io_len | s->io_asize | s->io_port);
	if (EVENT_RULE(CHECK_IO_FLAGS,
		       s->io_flags & ~STRATA_IO_FLAGS || !size || size & (size - 1)))
		return false;
	if (EVENT_RULE(CHECK_IO_LENGTH, s->io_len > 15 || (!s->io_len && !rep)) ||
	    EVENT_RULE(CHECK_IO_REP, rep && !string))
		return false;
	return !EVENT_RULE(CHECK_IO_ASIZE, string ? s->io_asize != 2 && s->io_asize != 4 && s->io_asize != 8 : s->io_asize);
}

static int strata_check(const struct kvm_vcpu_events *in)
{
	struct strata_events s;

	memcpy(&s, in->reserved, sizeof(s));
	if (!(s.flags & STRATA_EVENTS_VALID))
		return EVENT_RULE(CHECK_NOT_VALID, !all_zero(in->reserved, sizeof(in->reserved))) ? -EINVAL : 0;
	if (EVENT_RULE(CHECK_STRATA_FLAGS, s.flags & ~STRATA_EVENTS_FLAGS) ||
	    EVENT_RULE(CHECK_STRATA_RESERVED, !all_zero(s.reserved, sizeof(s.reserved))))
		return -EINVAL;
	if (EVENT_RULE(CHECK_KIND, s.delivering_kind > STRATA_EVENT_PRIV_EXCEPTION) ||
	    EVENT_RULE(CHECK_LENGTH, s.delivering_len > 15 || s.pending_len > 15))
		return -EINVAL;
	if (EVENT_RULE(CHECK_PENDING_KIND, s.pending_kind && !event_is_exception(s.pending_kind)))
		return -EINVAL;
	if (EVENT_RULE(CHECK_STASH, s.stash_nr && !(s.flags & STRATA_EVENTS_STASH)))
		return -EINVAL;
	if (EVENT_RULE(CHECK_STASH2, s.flags & STRATA_EVENTS_STASH2 ? !(s.flags & STRATA_EVENTS_STASH) : s.stash_next))
		return -EINVAL;
	if (EVENT_RULE(CHECK_CAUSES, (s.pending_dbg | s.smm_dbg) & ~STRATA_EVENTS_DR6))
		return -EINVAL;
	return io_legal(&s) ? 0 : -EINVAL;
}

/* The exception that @in asks to be pending, as against injected. */
static bool wants_pending(const struct kvm_vcpu_events *in, const struct event_abi *abi)
{
	return abi->payload &&
	       !EVENT_RULE(PENDING_NEEDS_FLAG, !(in->flags & KVM_VCPUEVENT_VALID_PAYLOAD)) &&
	       in->exception.pending;
}

int event_restore_check(const struct kvm_vcpu_events *in, const struct event_abi *abi)
{
	bool has_exception = in->exception.injected || wants_pending(in, abi);

	if (EVENT_RULE(CHECK_FLAGS, in->flags & ~ALL_FLAGS))
		return -EINVAL;
	if (EVENT_RULE(CHECK_PAYLOAD, in->flags & KVM_VCPUEVENT_VALID_PAYLOAD && !abi->payload))
		return -EINVAL;
	if (EVENT_RULE(CHECK_TRIPLE,
		       in->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && !abi->triple_fault))
		return -EINVAL;
	if (has_exception && (EVENT_RULE(CHECK_VECTOR, in->exception.nr > 31) ||
			      EVENT_RULE(CHECK_NOT_NMI, in->exception.nr == EVENT_NMI_VECTOR)))
		return -EINVAL;
	if (EVENT_RULE(CHECK_SMM, in->flags & KVM_VCPUEVENT_VALID_SMM && in->smi.smm && !abi->smm))
		return -EINVAL;
	return abi->strata ? strata_check(in) : 0;
}

/*
 * An exception of userspace: #BP and #OF are those of INT3 and INTO, one byte long, unless the kind
 * says otherwise. Instructions push no error code.
 */
static struct event user_exception(const struct kvm_vcpu_events *in, u8 kind, u8 len)
{
	struct event e = {
		.type = kind,
		.vector = in->exception.nr,
		.len = len,
		.has_error = in->exception.has_error_code,
		.error = in->exception.error_code,
	};

	if (!EVENT_RULE(RESTORE_KIND, event_is_exception(kind))) {
		e.type = EVENT_EXCEPTION;
		e.len = 0;
		if (EVENT_RULE(RESTORE_PLAIN_SOFT, e.vector == EVENT_BP || e.vector == EVENT_OF)) {
			e.type = EVENT_SOFT_EXCEPTION;
			e.len = 1;
		}
	}
	if (EVENT_RULE(RESTORE_SOFT_ERROR, event_is_soft(&e))) {
		e.has_error = false;
		e.error = 0;
	}
	return e;
}

static void restore_stash(struct event_queue *q, u8 vector, bool unsettled, bool soft)
{
	q->irq_stashed = 1;
	q->irq_vector = vector;
	q->irq_next = 0;
	q->irq_unsettled = unsettled;
	q->irq_soft = soft;
}

/* L1's event is not for userspace to replace. */
static struct event *user_delivering(struct event_queue *q)
{
	return EVENT_RULE(RESTORE_YIELDS, q->run_pending) ? &q->set_aside : &q->delivering;
}

static void restore_interrupt(struct event_queue *q, const struct kvm_vcpu_events *in,
			      const struct strata_events *s)
{
	struct event *d = user_delivering(q);
	bool soft = s->delivering_kind == STRATA_EVENT_SOFT_INT;
	bool exact = soft || s->delivering_kind == STRATA_EVENT_INTERRUPT;

	q->irq_stashed = 0;
	q->irq_vector = 0;
	q->irq_next = 0;
	q->irq_unsettled = false;
	q->irq_soft = false;
	if (EVENT_RULE(RESTORE_STASH, s->flags & STRATA_EVENTS_STASH))
		restore_stash(q, s->stash_nr, false, false);
	if (EVENT_RULE(RESTORE_STASH2, s->flags & STRATA_EVENTS_STASH2)) {
		q->irq_stashed = 2;
		q->irq_next = s->stash_next;
	}
	if (!in->interrupt.injected)
		return;
	if (EVENT_RULE(RESTORE_EXACT, exact && !d->type))
		*d = (struct event) {
			.type = s->delivering_kind,
			.vector = in->interrupt.nr,
			.len = soft ? s->delivering_len : 0,
		};
	else if (!(s->flags & STRATA_EVENTS_STASH))
		restore_stash(q, in->interrupt.nr, EVENT_RULE(RESTORE_SETTLES, true),
			      in->interrupt.soft);
}

/*
 * More than one event injected: the first in this order is in delivery, an NMI beside it is held
 * pending.
 */
static void restore_injected(struct event_queue *q, const struct kvm_vcpu_events *in,
			     const struct strata_events *s, bool pending)
{
	bool exception = EVENT_RULE(RESTORE_PENDING_WINS, !pending) ? in->exception.injected : false;
	struct event *d = user_delivering(q);

	event_clear(d);
	if (exception)
		*d = user_exception(in, s->delivering_kind, s->delivering_len);
	if (!in->nmi.injected)
		return;
	if (EVENT_RULE(RESTORE_BOTH, d->type))
		q->nmi_pending = min(q->nmi_pending + 1, 2);
	else
		*d = (struct event) { .type = EVENT_NMI, .vector = EVENT_NMI_VECTOR };
}

void event_restore(struct event_queue *q, const struct kvm_vcpu_events *in,
		   const struct event_abi *abi)
{
	bool pending = wants_pending(in, abi);
	struct strata_events s = {};

	if (abi->strata)
		memcpy(&s, in->reserved, sizeof(s));

	if (!EVENT_RULE(NMI_NEEDS_FLAG, !(in->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)))
		q->nmi_pending = min_t(u8, in->nmi.pending, 2);
	q->nmi_masked = in->nmi.masked;
	restore_injected(q, in, &s, pending);
	restore_interrupt(q, in, &s);

	event_clear(&q->exception);
	q->exception_user = pending;
	if (pending) {
		q->exception = user_exception(in, s.pending_kind, s.pending_len);
		q->exception.has_payload = in->exception_has_payload;
		q->exception.payload = in->exception_has_payload ? in->exception_payload : 0;
	}
	if (!EVENT_RULE(SIPI_NEEDS_FLAG, !(in->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)))
		q->sipi_vector = in->sipi_vector;
	if (!EVENT_RULE(SMM_NEEDS_FLAG, !(in->flags & KVM_VCPUEVENT_VALID_SMM))) {
		q->smm = abi->smm && in->smi.smm;
		q->smi = abi->smm && in->smi.pending;
		q->smm_inside_nmi = abi->smm && in->smi.smm_inside_nmi;
		q->init = in->smi.latched_init;
	}
	if (!EVENT_RULE(TRIPLE_NEEDS_FLAG, !(in->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)))
		q->triple_fault = in->triple_fault.pending;
	/*
	 * The plain ABI has no place for these: what the vCPU had of them is of the state that
	 * goes.
	 */
	if ((s.flags & STRATA_EVENTS_VALID) || EVENT_RULE(RESTORE_FORGETS, true)) {
		q->pending_dbg = s.pending_dbg;
		q->smm_dbg = s.smm_dbg;
		q->mtf = s.flags & STRATA_EVENTS_MTF;
		q->timer = s.flags & STRATA_EVENTS_TIMER;
	}
}

unsigned long event_restore_inbox(const struct kvm_vcpu_events *in, const struct event_abi *abi)
{
	unsigned long bits = 0;

	if (EVENT_RULE(INBOX_NMI_REPLACED, in->flags & KVM_VCPUEVENT_VALID_NMI_PENDING))
		bits |= BIT(INBOX_NMI) | BIT(INBOX_NMI2);
	if (EVENT_RULE(INBOX_SMM_REPLACED, in->flags & KVM_VCPUEVENT_VALID_SMM))
		bits |= BIT(INBOX_INIT) | (abi->smm ? BIT(INBOX_SMI) : 0);
	if (EVENT_RULE(INBOX_TRIPLE_REPLACED, in->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT))
		bits |= BIT(INBOX_TRIPLE);
	return bits;
}

bool event_restore_shadow(const struct kvm_vcpu_events *in, u8 *shadow)
{
	*shadow = (in->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? SHADOW_STI : 0) |
		  (in->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? SHADOW_MOV_SS : 0);
	return in->flags & KVM_VCPUEVENT_VALID_SHADOW;
}

void event_save_bitmap(const struct event_queue *q, __u64 bitmap[4])
{
	bool soft;
	u8 vector;

	memset(bitmap, 0, 4 * sizeof(bitmap[0]));
	if (shown_interrupt(q, &vector, &soft) && !soft)
		bitmap[vector / 64] |= BIT_ULL(vector % 64);
}

void event_restore_bitmap(struct event_queue *q, const __u64 bitmap[4])
{
	struct event *d = user_delivering(q);
	unsigned int word = 0, vector;

	while (word < 4 && !bitmap[word])
		word++;
	if (word == 4)
		return;
	vector = word * 64 + __builtin_ctzll(bitmap[word]);
	/* What KVM_SET_VCPU_EVENTS said of the same interrupt, before or after, is more exact. */
	if (EVENT_RULE(BITMAP_KNOWN, (d->type == EVENT_INTERRUPT && d->vector == vector) ||
		       (q->irq_stashed && q->irq_vector == vector)))
		return;
	/* Userspace knows of one interrupt, and this is it. */
	if (d->type == EVENT_INTERRUPT || d->type == EVENT_SOFT_INT)
		event_clear(d);
	restore_stash(q, vector, true, false);
}

u64 event_view_cr2(const struct event_queue *q, const struct event_abi *abi, u64 cr2)
{
	const struct event *e = &q->exception;

	if (EVENT_RULE(VIEW_CR2,
		       !abi->payload && e->type && e->vector == EVENT_PF && e->has_payload))
		return e->payload;
	return cr2;
}

u64 event_view_dr6(const struct event_queue *q, const struct event_abi *abi, u64 dr6)
{
	const struct event *e = &q->exception;

	if (EVENT_RULE(VIEW_DR6,
		       !abi->payload && e->type && e->vector == EVENT_DB && e->has_payload))
		return event_dr6(dr6, e->payload);
	return dr6;
}
