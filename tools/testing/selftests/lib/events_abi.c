// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of events by its documentation; see events_abi.h.
 */
#include <string.h>

#include "../../../../include/uapi/linux/strata.h"
#include "events_abi.h"
#include "x86.h"

#define KNOWN_FLAGS                                                                           \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                  \
	 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | \
	 KVM_VCPUEVENT_VALID_TRIPLE_FAULT)

static struct strata_events strata_part(const struct vm_config *c, const struct kvm_vcpu_events *e)
{
	struct strata_events s = { };

	if (c->strata_events)
		memcpy(&s, e->reserved, sizeof(s));
	return s;
}

static bool is_exception(u8 kind)
{
	return kind == STRATA_EVENT_EXCEPTION || kind == STRATA_EVENT_SOFT_EXCEPTION ||
	       kind == STRATA_EVENT_PRIV_EXCEPTION;
}

static bool io_refused(const struct strata_events *s)
{
	u8 size = s->io_flags & (STRATA_IO_8 | STRATA_IO_16 | STRATA_IO_32);
	bool string = s->io_flags & STRATA_IO_STRING, rep = s->io_flags & STRATA_IO_REP;

	if (!(s->io_flags & STRATA_IO_VALID))
		return s->io_flags || s->io_len || s->io_asize || s->io_port;
	if (s->io_flags & 0x80 ||
	    (size != STRATA_IO_8 && size != STRATA_IO_16 && size != STRATA_IO_32) || s->io_len > 15)
		return true;
	if ((rep && !string) || (!s->io_len && !rep))
		return true;
	return string ? s->io_asize != 2 && s->io_asize != 4 && s->io_asize != 8 : s->io_asize != 0;
}

static bool stash2_refused(const struct strata_events *s)
{
	return s->flags & STRATA_EVENTS_STASH2 ? !(s->flags & STRATA_EVENTS_STASH) : s->stash_next;
}

static bool strata_refused(const struct strata_events *s)
{
	static const struct strata_events zero;

	if (!(s->flags & STRATA_EVENTS_VALID))
		return memcmp(s, &zero, sizeof(zero));
	return s->flags & ~STRATA_EVENTS_FLAGS ||
	       memcmp(s->reserved, zero.reserved, sizeof(zero.reserved)) ||
	       s->delivering_kind > 6 || s->delivering_len > 15 || s->pending_len > 15 ||
	       (s->pending_kind && !is_exception(s->pending_kind)) ||
	       (s->stash_nr && !(s->flags & STRATA_EVENTS_STASH)) || stash2_refused(s) ||
	       ((s->pending_dbg | s->smm_dbg) & ~STRATA_EVENTS_DR6) || io_refused(s);
}

static bool is_pending(const struct vm_config *c, const struct kvm_vcpu_events *in)
{
	return c->payload && in->flags & KVM_VCPUEVENT_VALID_PAYLOAD && in->exception.pending;
}

bool events_refused(const struct vm_config *c, const struct kvm_vcpu_events *in)
{
	struct strata_events s = strata_part(c, in);

	if (in->flags & ~KNOWN_FLAGS || (in->flags & KVM_VCPUEVENT_VALID_PAYLOAD && !c->payload) ||
	    (in->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && !c->triple_fault))
		return true;
	if ((in->exception.injected || is_pending(c, in)) &&
	    (in->exception.nr > 31 || in->exception.nr == NMI_VECTOR))
		return true;
	return c->strata_events && strata_refused(&s);
}

/* A kind that does not say what the exception is leaves it what its vector says. */
static void exception_kind(const struct kvm_vcpu_events *in, u8 kind, u8 len, u8 *out_kind,
			   u8 *out_len)
{
	bool soft = in->exception.nr == BP_VECTOR || in->exception.nr == OF_VECTOR;

	*out_kind = is_exception(kind) ? kind : soft ? STRATA_EVENT_SOFT_EXCEPTION : STRATA_EVENT_EXCEPTION;
	*out_len = is_exception(kind) ? len : soft;
}

static void read_exception(const struct vm_config *c, const struct kvm_vcpu_events *in,
			   const struct strata_events *s, struct kvm_vcpu_events *out,
			   struct strata_events *t)
{
	bool pending = is_pending(c, in);

	if (!pending && !in->exception.injected)
		return;
	if (pending)
		exception_kind(in, s->pending_kind, s->pending_len, &t->pending_kind,
			       &t->pending_len);
	else
		exception_kind(in, s->delivering_kind, s->delivering_len, &t->delivering_kind,
			       &t->delivering_len);
	out->exception.pending = pending;
	out->exception.injected = !pending;
	out->exception.nr = in->exception.nr;
	if ((pending ? t->pending_kind : t->delivering_kind) == STRATA_EVENT_EXCEPTION) {
		out->exception.has_error_code = in->exception.has_error_code;
		out->exception.error_code = in->exception.error_code;
	}
	out->exception_has_payload = pending && in->exception_has_payload;
	out->exception_payload = out->exception_has_payload ? in->exception_payload : 0;
}

static void read_nmi(const struct kvm_vcpu_events *in, const struct kvm_vcpu_events *old,
		     struct kvm_vcpu_events *out, struct strata_events *t)
{
	unsigned int pending = in->flags & KVM_VCPUEVENT_VALID_NMI_PENDING ? in->nmi.pending : old->nmi.pending;

	if (in->nmi.injected && out->exception.injected)
		pending++;
	else if (in->nmi.injected)
		t->delivering_kind = STRATA_EVENT_NMI;
	out->nmi.injected = in->nmi.injected && !out->exception.injected;
	out->nmi.pending = pending > 2 ? 2 : pending;
	out->nmi.masked = in->nmi.masked;
}

static void read_interrupt(const struct kvm_vcpu_events *in, const struct strata_events *s,
			   struct kvm_vcpu_events *out, struct strata_events *t)
{
	bool stash = s->flags & STRATA_EVENTS_STASH,
	     soft = s->delivering_kind == STRATA_EVENT_SOFT_INT;

	if (stash) {
		t->flags |= STRATA_EVENTS_STASH;
		t->stash_nr = s->stash_nr;
		t->flags |= s->flags & STRATA_EVENTS_STASH2;
		t->stash_next = s->stash_next;
		out->interrupt.injected = 1;
		out->interrupt.nr = s->stash_nr;
	}
	if (!in->interrupt.injected)
		return;
	if (!t->delivering_kind && (soft || s->delivering_kind == STRATA_EVENT_INTERRUPT)) {
		t->delivering_kind = s->delivering_kind;
		t->delivering_len = soft ? s->delivering_len : 0;
		out->interrupt.soft = soft;
	} else if (stash) {
		return;
	} else {
		out->interrupt.soft = !!in->interrupt.soft;
	}
	out->interrupt.injected = 1;
	out->interrupt.nr = in->interrupt.nr;
}

static u8 read_shadow(bool amd, const struct kvm_vcpu_events *in, const struct kvm_vcpu_events *old)
{
	u8 both = KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS,
	   shadow = in->interrupt.shadow & both;

	if (!(in->flags & KVM_VCPUEVENT_VALID_SHADOW))
		return old->interrupt.shadow;
	if (amd)
		return shadow ? both : 0;
	return shadow & KVM_X86_SHADOW_INT_MOV_SS ?: shadow;
}

void events_read_back(const struct vm_config *c, bool amd, const struct kvm_vcpu_events *in,
		      const struct kvm_vcpu_events *old, struct kvm_vcpu_events *out)
{
	struct strata_events s = strata_part(c, in), t = { .flags = STRATA_EVENTS_VALID };

	memset(out, 0, sizeof(*out));
	out->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
		     KVM_VCPUEVENT_VALID_SMM | (c->payload ? KVM_VCPUEVENT_VALID_PAYLOAD : 0) |
		     (c->triple_fault ? KVM_VCPUEVENT_VALID_TRIPLE_FAULT : 0);
	read_exception(c, in, &s, out, &t);
	read_nmi(in, old, out, &t);
	read_interrupt(in, &s, out, &t);
	out->interrupt.shadow = read_shadow(amd, in, old);
	out->smi = in->flags & KVM_VCPUEVENT_VALID_SMM ? in->smi : old->smi;
	out->triple_fault = in->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT ? in->triple_fault : old->triple_fault;
	if (!c->strata_events)
		return;
	t.flags |= s.flags & (STRATA_EVENTS_MTF | STRATA_EVENTS_TIMER | STRATA_EVENTS_KICKED);
	t.pending_dbg = s.pending_dbg;
	t.smm_dbg = s.smm_dbg;
	t.io_flags = s.io_flags;
	t.io_len = s.io_len;
	t.io_asize = s.io_asize;
	t.io_port = s.io_port;
	memcpy(out->reserved, &t, sizeof(t));
}
