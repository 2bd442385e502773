// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET/SET_REGS, KVM_GET/SET_SREGS and SREGS2, and the synchronised registers of struct kvm_run.
 */
#include <linux/strata.h>
#include <linux/string.h>

#include "../backend.h"
#include "../exit.h"
#include "../ioctl.h"
#include "../smm/smm.h"
#include "../strata.h"
#include "../trace_queue.h"
#include "rows.h"

#define ALL_GPRS	(BIT(REG_RFLAGS + 1) - 1)
#define RFLAGS_FIXED	BIT(1)

/* IOCTL_FILLS: there is no padding. */
static_assert(sizeof(struct kvm_regs) == NR_REGS * sizeof(u64));

static void regs_get(struct vcpu *v, struct kvm_regs *regs)
{
	unsigned int reg;

	if ((v->regs_avail & ALL_GPRS) != ALL_GPRS)
		for (reg = 0; reg < NR_REGS; reg++)
			vcpu_need_reg(v, reg);

	regs->rax = v->regs[REG_RAX];
	regs->rbx = v->regs[REG_RBX];
	regs->rcx = v->regs[REG_RCX];
	regs->rdx = v->regs[REG_RDX];
	regs->rsi = v->regs[REG_RSI];
	regs->rdi = v->regs[REG_RDI];
	regs->rsp = v->regs[REG_RSP];
	regs->rbp = v->regs[REG_RBP];
	regs->r8 = v->regs[REG_R8];
	regs->r9 = v->regs[REG_R9];
	regs->r10 = v->regs[REG_R10];
	regs->r11 = v->regs[REG_R11];
	regs->r12 = v->regs[REG_R12];
	regs->r13 = v->regs[REG_R13];
	regs->r14 = v->regs[REG_R14];
	regs->r15 = v->regs[REG_R15];
	regs->rip = v->regs[REG_RIP];
	regs->rflags = v->regs[REG_RFLAGS];
}

static void regs_set(struct vcpu *v, const struct kvm_regs *regs)
{
	v->regs[REG_RAX] = regs->rax;
	v->regs[REG_RBX] = regs->rbx;
	v->regs[REG_RCX] = regs->rcx;
	v->regs[REG_RDX] = regs->rdx;
	v->regs[REG_RSI] = regs->rsi;
	v->regs[REG_RDI] = regs->rdi;
	v->regs[REG_RSP] = regs->rsp;
	v->regs[REG_RBP] = regs->rbp;
	v->regs[REG_R8] = regs->r8;
	v->regs[REG_R9] = regs->r9;
	v->regs[REG_R10] = regs->r10;
	v->regs[REG_R11] = regs->r11;
	v->regs[REG_R12] = regs->r12;
	v->regs[REG_R13] = regs->r13;
	v->regs[REG_R14] = regs->r14;
	v->regs[REG_R15] = regs->r15;
	v->regs[REG_RIP] = regs->rip;
	v->regs[REG_RFLAGS] = regs->rflags | RFLAGS_FIXED;
	v->regs_avail |= ALL_GPRS;
	v->regs_dirty |= ALL_GPRS;

	/* A VMM that redirects RIP does not want the guest's pending exception there. */
	event_drop_exception(&v->events);
}

static void segments_get(struct vcpu *v, struct kvm_sregs *sregs)
{
	backend_call(get_segment)(v, &sregs->cs, SEG_CS);
	backend_call(get_segment)(v, &sregs->ds, SEG_DS);
	backend_call(get_segment)(v, &sregs->es, SEG_ES);
	backend_call(get_segment)(v, &sregs->fs, SEG_FS);
	backend_call(get_segment)(v, &sregs->gs, SEG_GS);
	backend_call(get_segment)(v, &sregs->ss, SEG_SS);
	backend_call(get_segment)(v, &sregs->tr, SEG_TR);
	backend_call(get_segment)(v, &sregs->ldt, SEG_LDTR);
	backend_call(get_dt)(v, &sregs->idt, true);
	backend_call(get_dt)(v, &sregs->gdt, false);
}

/* Everything but the interrupt bitmap, which SREGS2 does not have; @sregs is zeroed. */
static void sregs_get_common(struct vcpu *v, struct kvm_sregs *sregs)
{
	const struct event_abi abi = vcpu_event_abi(v);

	segments_get(v, sregs);
	sregs->cr0 = vcpu_cr0(v);
	sregs->cr2 = event_view_cr2(&v->events, &abi, v->cr2);
	sregs->cr3 = vcpu_cr3(v);
	sregs->cr4 = vcpu_cr4(v);
	sregs->cr8 = v->cr8;
	sregs->efer = v->efer;
	sregs->apic_base = v->apic_base;
}

static void sregs_get(struct vcpu *v, struct kvm_sregs *sregs)
{
	sregs_get_common(v, sregs);
	event_save_bitmap(&v->events, sregs->interrupt_bitmap);
}

static void sregs_apply(struct vcpu *v, const struct kvm_sregs *sregs)
{
	cr_apply_sregs(v, sregs);
	event_restore_bitmap(&v->events, sregs->interrupt_bitmap);
}

static int sregs_set(struct vcpu *v, const struct kvm_sregs *sregs)
{
	int ret = cr_check_sregs(v, sregs);

	if (!ret)
		sregs_apply(v, sregs);
	return ret;
}

static long ioctl_get_regs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	regs_get(to_vcpu(vv), data);
	return 0;
}

static long ioctl_set_regs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	regs_set(to_vcpu(vv), data);
	return 0;
}

static long ioctl_get_sregs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	sregs_get(to_vcpu(vv), data);
	return 0;
}

static long ioctl_set_sregs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return sregs_set(to_vcpu(vv), data);
}

/* SREGS2 is SREGS up to the interrupt bitmap's place. */
static_assert(offsetof(struct kvm_sregs2, flags) == offsetof(struct kvm_sregs, interrupt_bitmap));

static long ioctl_get_sregs2(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	struct kvm_sregs2 *out = data;
	struct kvm_sregs sregs = { };

	sregs_get_common(v, &sregs);
	memcpy(out, &sregs, offsetof(struct kvm_sregs2, flags));
	if (cr_pae_paging(v) && !v->cpu.pdptr_stale) {
		vcpu_need_reg(v, REG_PDPTR);
		memcpy(out->pdptrs, v->pdptr, sizeof(out->pdptrs));
		out->flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
	return 0;
}

/* Page-directory pointers come with paging in PAE mode only, and have no reserved bits set. */
static int check_pdptrs(struct vcpu *v, const struct kvm_sregs2 *in)
{
	u64 reserved = mmu_pdptr_rsvd(v);
	unsigned int i;

	if (!(in->cr0 & CR0_PG) || !(in->cr4 & CR4_PAE) || (in->efer & EFER_BIT_LMA))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(in->pdptrs); i++)
		if ((in->pdptrs[i] & 1) && (in->pdptrs[i] & reserved))
			return -EINVAL;
	return 0;
}

static long ioctl_set_sregs2(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_sregs2 *in = data;
	struct vcpu *v = to_vcpu(vv);
	struct kvm_sregs sregs = { };
	bool pdptrs = in->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	int ret;

	if (in->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	memcpy(&sregs, in, offsetof(struct kvm_sregs2, flags));
	ret = cr_check_sregs(v, &sregs);
	if (!ret && pdptrs)
		ret = check_pdptrs(v, in);
	if (ret)
		return ret;

	cr_apply_sregs(v, &sregs);
	if (pdptrs) {
		memcpy(v->pdptr, in->pdptrs, sizeof(v->pdptr));
		v->regs_avail |= BIT(REG_PDPTR);
		v->regs_dirty |= BIT(REG_PDPTR);
		v->cpu.pdptr_stale = false;
		mmu_mode_changed(v);
	}
	return 0;
}

/* The I/O instruction that an SMI may restart */
static void io_last_get(struct vcpu *v, struct kvm_vcpu_events *events)
{
	const struct smram_io *io = io_last(v);
	struct strata_events s;

	if (!io)
		return;
	memcpy(&s, events->reserved, sizeof(s));
	s.io_flags = io->flags;
	s.io_len = io->len;
	s.io_asize = io->asize;
	s.io_port = io->port;
	memcpy(events->reserved, &s, sizeof(s));
}

static void io_last_set(struct vcpu *v, const struct kvm_vcpu_events *events,
			const struct event_abi *abi)
{
	struct strata_events s = {};

	if (abi->strata)
		memcpy(&s, events->reserved, sizeof(s));
	v->io.last = (struct io_last) {
		.io = { .port = s.io_port, .flags = s.io_flags, .len = s.io_len, .asize = s.io_asize },
		.user = true,
	};
}

void vcpu_events_get(struct vcpu *v, struct kvm_vcpu_events *events)
{
	const struct event_abi abi = vcpu_event_abi(v);
	struct event_view view;

	vcpu_view(v, &view);
	event_save(&v->events, READ_ONCE(v->inbox), READ_ONCE(v->sipi_vector), &abi, &view, events);
	if (abi.strata && READ_ONCE(v->pv.kicked))
		events->reserved[0] |= STRATA_EVENTS_KICKED;
	if (abi.strata)
		io_last_get(v, events);
	trace_strata_events_saved(v, events);
}

static void events_apply(struct vcpu *v, const struct kvm_vcpu_events *events,
			 const struct event_abi *abi)
{
	unsigned long stale;
	u8 shadow;

	for (stale = event_restore_inbox(events, abi); stale; stale &= stale - 1)
		clear_bit(__ffs(stale), &v->inbox);
	trace_strata_events_restored(v, events);
	/* What the control block has pending is of the state that goes. */
	backend_call(take_pending_dbg)(v);
	event_restore(&v->events, events, abi);
	io_last_set(v, events, abi);
	if (abi->strata)
		WRITE_ONCE(v->pv.kicked, events->reserved[0] & STRATA_EVENTS_KICKED);
	smm_follow(v);
	if (event_restore_shadow(events, &shadow))
		backend_call(set_shadow)(v, shadow);
}

int vcpu_events_set(struct vcpu *v, const struct kvm_vcpu_events *events)
{
	const struct event_abi abi = vcpu_event_abi(v);

	if (event_restore_check(events, &abi))
		return -EINVAL;
	events_apply(v, events, &abi);
	return 0;
}

void sync_regs_store(struct vcpu *v)
{
	struct kvm_run *run = v->virt.run;
	u64 valid = READ_ONCE(run->kvm_valid_regs);
	struct kvm_sregs sregs = { };

	if (valid & KVM_SYNC_X86_REGS)
		regs_get(v, &run->s.regs.regs);
	if (valid & KVM_SYNC_X86_SREGS) {
		sregs_get(v, &sregs);
		run->s.regs.sregs = sregs;
	}
	if (valid & KVM_SYNC_X86_EVENTS)
		vcpu_events_get(v, &run->s.regs.events);
}

int sync_regs_load(struct vcpu *v)
{
	const struct event_abi abi = vcpu_event_abi(v);
	struct kvm_run *run = v->virt.run;
	u64 dirty = READ_ONCE(run->kvm_dirty_regs);
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int ret;

	if ((READ_ONCE(run->kvm_valid_regs) | dirty) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	/* Another thread may write there: copies are checked, all of them before any is used. */
	if (dirty & KVM_SYNC_X86_SREGS) {
		memcpy(&sregs, &run->s.regs.sregs, sizeof(sregs));
		barrier_data(&sregs);
		ret = cr_check_sregs(v, &sregs);
		if (ret)
			return ret;
	}
	if (dirty & KVM_SYNC_X86_EVENTS) {
		memcpy(&events, &run->s.regs.events, sizeof(events));
		barrier_data(&events);
		if (event_restore_check(&events, &abi))
			return -EINVAL;
	}
	if (dirty & KVM_SYNC_X86_SREGS)
		sregs_apply(v, &sregs);
	if (dirty & KVM_SYNC_X86_REGS) {
		memcpy(&regs, &run->s.regs.regs, sizeof(regs));
		barrier_data(&regs);
		regs_set(v, &regs);
	}
	if (dirty & KVM_SYNC_X86_EVENTS)
		events_apply(v, &events, &abi);
	WRITE_ONCE(run->kvm_dirty_regs, 0);
	return 0;
}

const struct ioctl_row regs_vcpu_ioctls[] = {
	{ KVM_GET_REGS,   IOCTL_REGS | IOCTL_FILLS, .vcpu = ioctl_get_regs },
	{ KVM_SET_REGS,   IOCTL_REGS,               .vcpu = ioctl_set_regs },
	{ KVM_GET_SREGS,  IOCTL_REGS,               .vcpu = ioctl_get_sregs },
	{ KVM_SET_SREGS,  IOCTL_REGS | IOCTL_SRCU,  .vcpu = ioctl_set_sregs },
	{ KVM_GET_SREGS2, IOCTL_REGS | IOCTL_SRCU,  .vcpu = ioctl_get_sregs2 },
	{ KVM_SET_SREGS2, IOCTL_REGS | IOCTL_SRCU,  .vcpu = ioctl_set_sregs2 },
};
const unsigned int regs_nr_vcpu_ioctls = ARRAY_SIZE(regs_vcpu_ioctls);
