// SPDX-License-Identifier: GPL-2.0
/*
 * Random states of events; see random_events.h.
 */
#include <string.h>

#include "../../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "random_events.h"
#include "x86.h"

static u64 *rng;

static u32 rnd(u32 n)
{
	return (next_random(rng) >> 32) % n;
}

static bool one_in(u32 n)
{
	return !rnd(n);
}

#define ERROR_CODES	(1u << 8 | 0x1fu << 10 | 1u << 17)

static u32 error_code(u8 nr)
{
	return nr == AC_VECTOR || nr == DF_VECTOR ? 0 : rnd(0x10000);
}

/*
 * SVM takes the vectors that exceptions have, and pushes an error code where it is told to; with
 * VMX anything goes.
 */
static void random_exception(struct kvm_vcpu_events *e)
{
	static const u8 vectors[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19 };
	u8 nr = vectors[rnd(sizeof(vectors))];

	if (!host_is_amd() && one_in(4))
		nr = (3 + rnd(29));
	e->exception.nr = nr;
	e->exception.has_error_code = ERROR_CODES >> nr & 1;
	e->exception.error_code = e->exception.has_error_code ? error_code(nr) : 0;
	if (!host_is_amd() && one_in(2)) {
		e->exception.has_error_code = rnd(2);
		e->exception.error_code = next_random(rng) >> 32;
	}
	e->exception.injected = rnd(2);
	e->exception.pending = rnd(2);
	e->exception_has_payload = nr == DB_VECTOR || nr == PF_VECTOR ? rnd(4) : one_in(8);
	e->exception_has_payload = !!e->exception_has_payload;
	e->exception_payload = nr == DB_VECTOR ? 1 << rnd(4) | rnd(2) << 14 : rnd(0x10000000);
}

static u32 random_causes(void)
{
	return one_in(3) ? 1 << rnd(4) | rnd(2) << 14 : 0;
}

static void random_io(struct strata_events *s)
{
	s->io_flags = STRATA_IO_VALID | rnd(2) * STRATA_IO_IN | STRATA_IO_8 << rnd(3);
	s->io_port = rnd(0x10000);
	s->io_len = 1 + rnd(15);
	if (one_in(2))
		return;
	s->io_flags |= STRATA_IO_STRING | rnd(2) * STRATA_IO_REP;
	s->io_asize = 2 << rnd(3);
	if (s->io_flags & STRATA_IO_REP && one_in(2))
		s->io_len = 0;
}

/* Lengths: the CPU's; none would have to be found. */
static void random_strata(struct kvm_vcpu_events *e)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID };

	s.delivering_kind = rnd(7);
	s.delivering_len = 1 + rnd(15);
	s.pending_kind = one_in(2) ? STRATA_EVENT_EXCEPTION + (one_in(2) ? 0 : 2 + rnd(2)) : 0;
	s.pending_len = 1 + rnd(15);
	if (one_in(8))
		s.delivering_len = s.pending_len = 0;
	if (one_in(3)) {
		s.flags |= STRATA_EVENTS_STASH;
		s.stash_nr = MODES_EXTERNAL + rnd(256 - MODES_EXTERNAL);
	}
	if (s.flags & STRATA_EVENTS_STASH && s.delivering_kind != STRATA_EVENT_INTERRUPT &&
	    one_in(2)) {
		s.flags |= STRATA_EVENTS_STASH2;
		s.stash_next = MODES_EXTERNAL + rnd(256 - MODES_EXTERNAL);
	}
	if (one_in(8))
		s.flags |= STRATA_EVENTS_KICKED;
	if (one_in(8))
		s.flags |= rnd(2) ? STRATA_EVENTS_MTF : STRATA_EVENTS_TIMER;
	s.pending_dbg = random_causes();
	s.smm_dbg = random_causes();
	if (one_in(4))
		random_io(&s);
	memcpy(e->reserved, &s, sizeof(s));
	if (s.delivering_kind == STRATA_EVENT_SOFT_INT)
		e->interrupt.nr = 0x20 + rnd(0x20);
}

static void random_legal(const struct vm_config *c, struct kvm_vcpu_events *e)
{
	e->flags = one_in(4) ? rnd(16) : 15;
	if (c->payload && !one_in(8))
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (c->triple_fault && !one_in(8))
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (one_in(2))
		random_exception(e);
	e->interrupt.injected = rnd(2);
	e->interrupt.nr = MODES_EXTERNAL + rnd(256 - MODES_EXTERNAL);
	e->interrupt.shadow = rnd(4);
	e->nmi.injected = one_in(3);
	e->nmi.pending = rnd(4);
	e->nmi.masked = rnd(2);
	if (one_in(6)) {
		e->smi.smm = one_in(3);
		e->smi.pending = rnd(2);
		e->smi.smm_inside_nmi = rnd(2);
		e->smi.latched_init = one_in(4);
	}
	e->sipi_vector = 9 + rnd(2);
	e->triple_fault.pending = one_in(16);
	if (c->strata_events && !one_in(4))
		random_strata(e);
	/* Nothing tells its length if it is not at RIP. */
	if (!(e->reserved[0] & STRATA_EVENTS_VALID) && e->interrupt.injected && one_in(16)) {
		e->interrupt.soft = 1;
		e->interrupt.nr = 0x20 + rnd(0x20);
	}
}

/* One thing that may be refused; the capabilities say. */
static void spoil(struct kvm_vcpu_events *e)
{
	struct strata_events s;

	switch (rnd(6)) {
	case 0:
		e->flags |= 1u << rnd(32);
		break;
	case 1:
		e->exception.nr = one_in(2) ? NMI_VECTOR : 32 + rnd(224);
		break;
	case 2:
		e->reserved[rnd(sizeof(e->reserved))] ^= 1u << rnd(8);
		break;
	case 3:
		memcpy(&s, e->reserved, sizeof(s));
		s.delivering_kind = rnd(256);
		s.pending_kind = rnd(8);
		memcpy(e->reserved, &s, sizeof(s));
		break;
	case 4:
		memcpy(&s, e->reserved, sizeof(s));
		s.io_flags = rnd(256);
		s.io_len = rnd(20);
		s.io_asize = rnd(10);
		memcpy(e->reserved, &s, sizeof(s));
		break;
	default:
		e->reserved[rnd(sizeof(e->reserved))] = rnd(256);
	}
}

static u32 random_mp_state(const struct vm_config *c)
{
	static const u32 states[] = { KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_HALTED, KVM_MP_STATE_SIPI_RECEIVED };

	return c->irqchip != CHIP_NONE && one_in(16) ? states[rnd(4)] : KVM_MP_STATE_RUNNABLE;
}

void random_events(u64 *seed, const struct vm_config *c, struct random_events *r)
{
	rng = seed;
	memset(r, 0, sizeof(*r));
	/*
	 * The last one: TCG ends itself when ring 0 gets its stack from a TSS that is busy, as a
	 * restored one is.
	 */
	r->mode = rnd(host_is_tcg() ? MODE_V86 : NR_MODES);
	random_legal(c, &r->events);
	if (one_in(8))
		spoil(&r->events);
	r->rflags = (one_in(2) ? RFLAGS_IF : 0) | (one_in(3) ? RFLAGS_TF : 0) | (one_in(4) ? RFLAGS_RF : 0);
	r->mp_state = random_mp_state(c);
	/*
	 * A halted vCPU that was kicked reads as runnable, and as kicked: one that saves in between
	 * loses neither.
	 */
	if (c->strata_events && r->mp_state == KVM_MP_STATE_HALTED)
		r->events.reserved[0] &= ~STRATA_EVENTS_KICKED;
	/* What starts at a SIPI is as INIT left it. */
	if (r->mp_state != KVM_MP_STATE_RUNNABLE && r->mp_state != KVM_MP_STATE_HALTED) {
		r->mode = MODE_REAL;
		r->events.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	}
	r->nmis = one_in(6) ? 1 + rnd(2) : 0;
	r->smis = one_in(10);
	/* The plain ABI does not tell it from one in delivery. */
	if (c->irqchip != CHIP_FULL && c->strata_events && one_in(6))
		r->interrupt = MODES_EXTERNAL + rnd(256 - MODES_EXTERNAL);
	if (c->irqchip != CHIP_NONE && one_in(4))
		r->request = MODES_EXTERNAL + rnd(256 - MODES_EXTERNAL);
	/*
	 * Where RSM unblocks NMIs Bochs does not, before the next exit of another kind
	 * (Documentation/testing.rst).
	 */
	if (host_is_bochs() && (r->smis || r->events.smi.pending)) {
		r->nmis = 0;
		r->events.nmi.injected = r->events.nmi.pending = 0;
	}
	r->cold = rnd(4) & rnd(4);
	state_shuffle(seed, r->order);
	r->sregs2 = rnd(2);
}

void random_events_show(const struct random_events *r)
{
	const struct kvm_vcpu_events *e = &r->events;
	struct strata_events s;

	memcpy(&s, e->reserved, sizeof(s));
	tap_note(
		"%s, RFLAGS %#llx, flags %#x, exception %u/%u %u %u/%#x payload %u/%#llx, interrupt %u %#x %u shadow %u, NMI %u/%u/%u, SMI %u/%u/%u INIT %u, "
		"SIPI %u, shutdown %u",
		mode_names[r->mode], (unsigned long long)r->rflags, e->flags, e->exception.injected,
		e->exception.pending, e->exception.nr, e->exception.has_error_code,
		e->exception.error_code, e->exception_has_payload,
		(unsigned long long)e->exception_payload, e->interrupt.injected, e->interrupt.nr,
		e->interrupt.soft, e->interrupt.shadow, e->nmi.injected, e->nmi.pending,
		e->nmi.masked, e->smi.smm, e->smi.pending, e->smi.smm_inside_nmi,
		e->smi.latched_init, e->sipi_vector, e->triple_fault.pending);
	tap_note(
		"flags %#x, kinds %u/%u %u/%u, stash %#x, causes %#x %#x, I/O %#x %u %u %#x; MP state %u, NMIs %u, SMIs %u, interrupts %#x %#x, cold %u",
		s.flags, s.delivering_kind, s.delivering_len, s.pending_kind, s.pending_len,
		s.stash_nr, s.pending_dbg, s.smm_dbg, s.io_flags, s.io_len, s.io_asize, s.io_port,
		r->mp_state, r->nmis, r->smis, r->interrupt, r->request, r->cold);
}
