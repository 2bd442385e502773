// SPDX-License-Identifier: GPL-2.0
/*
 * What: registers that two SETs carry: EFER, APIC base, FS and GS base (SREGS and MSRS), CR8 and
 * the local APIC's TPR (SREGS and LAPIC), the FPU (FPU and XSAVE), the interrupt (VCPU_EVENTS and
 * SREGS), and the TSC deadline and the timer's mode (MSRS and LAPIC).
 * Conditions: KVM_CREATE_IRQCHIP; none for the interrupt.
 * Expected: where the two disagree the later wins, in both getters; an empty interrupt bitmap says
 * nothing; no deadline outlives the timer's other mode.
 */
#include <string.h>

#include "pv.h"

#define APIC_ON		0xfee00900ull	/* the boot processor's */
#define APIC_OFF	0xfee00100ull
#define MSR_DEADLINE	0x6e0
#define LVTT_DEADLINE	(2 << 17 | 0x61)
#define FAR		(1ull << 60)

static void guest_nothing(void)
{
	for (;;)
		guest_sync(1);
}

static struct vcpu *stopped(void)
{
	struct vcpu *vcpu;

	STRATA_ONLY("SETs in any order");
	vcpu = pv_apic_vm(1, guest_nothing)->vcpu;
	RUN_UNTIL_SYNC(vcpu, 1);
	return vcpu;
}

/* ---- SREGS and MSRS ---- */

enum { R_EFER, R_APIC_BASE, R_FS, R_GS };

static u64 *field(struct kvm_sregs *s, int r)
{
	switch (r) {
	case R_EFER: return (u64 *)&s->efer;
	case R_APIC_BASE: return (u64 *)&s->apic_base;
	case R_FS: return (u64 *)&s->fs.base;
	default: return (u64 *)&s->gs.base;
	}
}

static void check_both(struct vcpu *vcpu, int r, u32 msr, u64 want)
{
	struct kvm_sregs s;
	u64 val;

	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	CHECK_EQ(*field(&s, r), want);
	CHECK_EQ(vcpu_get_msr(vcpu, msr, &val), 1);
	CHECK_EQ(val, want);
}

static void sregs_and_msr(int r, u32 msr, u64 a, u64 b)
{
	struct vcpu *vcpu = stopped();
	struct kvm_sregs s;

	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	*field(&s, r) = a;
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	CHECK_EQ(vcpu_set_msr(vcpu, msr, b), 1);
	check_both(vcpu, r, msr, b);
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	check_both(vcpu, r, msr, a);
	vm_destroy(vcpu->vm);
}

TEST(efer)	{ sregs_and_msr(R_EFER, MSR_EFER, EFER_LME | EFER_LMA | EFER_NX, EFER_LME | EFER_LMA | EFER_NX | EFER_SCE); }
TEST(apic_base)	{ sregs_and_msr(R_APIC_BASE, MSR_APIC_BASE, APIC_OFF, APIC_ON); }
TEST(fs_base)	{ sregs_and_msr(R_FS, MSR_FS_BASE, 0x1000, 0x2000); }
TEST(gs_base)	{ sregs_and_msr(R_GS, MSR_GS_BASE, 0x1000, 0x2000); }

/* ---- CR8 and TPR ---- */

static void check_tpr(struct vcpu *vcpu, u64 cr8)
{
	struct kvm_lapic_state l;
	struct kvm_sregs s;

	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &l);
	CHECK_EQ(s.cr8, cr8);
	CHECK_EQ(*(u32 *)(l.regs + APIC_TPR), cr8 << 4);
}

TEST(task_priority)
{
	struct vcpu *vcpu = stopped();
	struct kvm_lapic_state l;
	struct kvm_sregs s;

	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &l);
	s.cr8 = 3;
	*(u32 *)(l.regs + APIC_TPR) = 0x50;
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	xioctl(vcpu->fd, KVM_SET_LAPIC, &l);
	check_tpr(vcpu, 5);
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	check_tpr(vcpu, 3);
	vm_destroy(vcpu->vm);
}

/* ---- FPU and XSAVE ---- */

static void check_fpu(struct vcpu *vcpu, u16 fcw, u8 xmm)
{
	struct kvm_xsave x;
	struct kvm_fpu f;

	xioctl(vcpu->fd, KVM_GET_FPU, &f);
	xioctl(vcpu->fd, KVM_GET_XSAVE, &x);
	CHECK_EQ(f.fcw, fcw);
	CHECK_EQ((u16)x.region[0], fcw);
	CHECK_EQ(f.xmm[2][0], xmm);
	CHECK_EQ((u8)x.region[(160 + 32) / 4], xmm);
}

TEST(fpu)
{
	struct vcpu *vcpu = stopped();
	struct kvm_xsave x;
	struct kvm_fpu f;

	xioctl(vcpu->fd, KVM_GET_FPU, &f);
	f.fcw = 0x27f;
	f.xmm[2][0] = 0x11;
	xioctl(vcpu->fd, KVM_SET_FPU, &f);
	xioctl(vcpu->fd, KVM_GET_XSAVE, &x);
	x.region[0] = (x.region[0] & ~0xffffu) | 0x77f;
	x.region[(160 + 32) / 4] = 0x22;
	xioctl(vcpu->fd, KVM_SET_XSAVE, &x);
	check_fpu(vcpu, 0x77f, 0x22);
	xioctl(vcpu->fd, KVM_SET_FPU, &f);
	check_fpu(vcpu, 0x27f, 0x11);
	vm_destroy(vcpu->vm);
}

/* ---- the interrupt ---- */

static void check_interrupt(struct vcpu *vcpu, u8 nr)
{
	struct kvm_vcpu_events e;
	struct kvm_sregs s;
	unsigned int i;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	CHECK_EQ(e.interrupt.injected, !!nr);
	CHECK_EQ(e.interrupt.nr, nr);
	for (i = 0; i < 4; i++)
		CHECK_EQ(s.interrupt_bitmap[i], nr && nr / 64 == i ? 1ull << nr % 64 : 0);
}

TEST(interrupt)
{
	struct vcpu *vcpu;
	struct kvm_vcpu_events e;
	struct kvm_sregs s;

	STRATA_ONLY("SETs in any order");
	vcpu = vm_create(1)->vcpu;
	vcpu_set_long(vcpu, guest_nothing, 0);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_GET_SREGS, &s);
	e.interrupt.injected = 1;
	e.interrupt.nr = 0x41;
	s.interrupt_bitmap[0x92 / 64] = 1ull << 0x92 % 64;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	check_interrupt(vcpu, 0x92);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	check_interrupt(vcpu, 0x41);
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	check_interrupt(vcpu, 0x41);
	e.interrupt.injected = 0;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	check_interrupt(vcpu, 0);
	vm_destroy(vcpu->vm);
}

/* ---- the timer ---- */

static u64 deadline(struct vcpu *vcpu)
{
	u64 val = 1;

	CHECK_EQ(vcpu_get_msr(vcpu, MSR_DEADLINE, &val), 1);
	return val;
}

TEST(tsc_deadline)
{
	struct vcpu *vcpu = stopped();
	struct kvm_lapic_state l;

	xioctl(vcpu->fd, KVM_GET_LAPIC, &l);
	*(u32 *)(l.regs + APIC_SVR) = 0x1ff;
	*(u32 *)(l.regs + APIC_LVTT) = LVTT_DEADLINE;
	xioctl(vcpu->fd, KVM_SET_LAPIC, &l);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_DEADLINE, FAR), 1);
	CHECK_EQ(deadline(vcpu), FAR);
	xioctl(vcpu->fd, KVM_SET_LAPIC, &l);
	CHECK_EQ(deadline(vcpu), FAR);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_DEADLINE, FAR + 1), 1);
	CHECK_EQ(deadline(vcpu), FAR + 1);
	*(u32 *)(l.regs + APIC_LVTT) = 0x61;
	xioctl(vcpu->fd, KVM_SET_LAPIC, &l);
	CHECK_EQ(deadline(vcpu), 0);
	vm_destroy(vcpu->vm);
}
