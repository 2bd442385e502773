// SPDX-License-Identifier: GPL-2.0
/*
 * What: control blocks that VMRUN refuses, each for one reason; intercepts that the hypervisor
 * needs for itself, left out by L1 or turned off on the way.
 * Conditions: guests are offered SVM.
 * Expected: VMEXIT_INVALID, GIF 0, nothing of L2 executed; with the intercepts missing L2 reaches
 * nothing of L0's.
 */
#include <string.h>

#include "svm.h"

static volatile u64 l2_ran;

static void l2_main(void)
{
	l2_ran++;
	vmmcall();
}

static volatile u64 nmi_count;

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
	nmi_count++;
}

static struct svm_vmcb saved;

#define REFUSED(...)									\
	do {										\
		u64 ran_ = l2_ran;							\
											\
		memcpy(&svm_vmcb, &saved, sizeof(saved));				\
		__VA_ARGS__;								\
		svm_vmcb.exit_code = 0x55;						\
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_INVALID);			\
		GUEST_ASSERT_EQ(l2_ran, ran_);						\
	} while (0)

static void guest_refused(void)
{
	struct svm_vmcb *b = &svm_vmcb;

	svm_guest_init(l2_main);
	memcpy(&saved, b, sizeof(saved));
	GUEST_ASSERT_EQ(svm_vmrun(b), SVM_EXIT_VMMCALL);
	REFUSED(svm_intercept(b, ICPT_VMRUN, false));
	REFUSED(b->asid = 0);
	REFUSED(b->iopm = 1ull << 52);
	REFUSED(b->msrpm = 1ull << 52);
	REFUSED(b->nested_ctl = 1; b->ncr3 = 1ull << 52);
	REFUSED(b->nested_ctl = 1; b->g_pat = 0x0007040600070402ull);
	REFUSED(b->event_inj = INJ_VALID | 1 << 8);
	REFUSED(b->event_inj = INJ_VALID | INJ_EXCEPTION | 2);
	REFUSED(b->event_inj = INJ_VALID | INJ_EXCEPTION | 40);
	REFUSED(b->efer &= ~EFER_SVME);
	REFUSED(b->efer |= 1ull << 40);
	REFUSED(b->cr0 |= CR0_NW);
	REFUSED(b->cr0 |= 1ull << 32);
	REFUSED(b->cr3 |= 1ull << 52);
	REFUSED(b->cr4 |= 1ull << 32);
	REFUSED(b->dr6 |= 1ull << 32);
	REFUSED(b->dr7 |= 1ull << 32);
	REFUSED(b->cr4 &= ~CR4_PAE);
	REFUSED(b->cr0 &= ~CR0_PE);
	REFUSED(b->cs.attrib |= 1 << 10);
	/* GIF is 0 now. */
	guest_handlers[NMI_VECTOR] = on_nmi;
	guest_sync(1);
	GUEST_ASSERT_EQ(nmi_count, 0);
	svm_stgi();
	GUEST_ASSERT_EQ(nmi_count, 1);
	memcpy(b, &saved, sizeof(saved));
	GUEST_ASSERT_EQ(svm_vmrun(b), SVM_EXIT_VMMCALL);
	guest_done();
}

TEST(refused)
{
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_refused, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * L1 intercepts nothing but VMRUN. What L2 does is done to L1's machine, which is a guest's: ports
 * and MSRs reach L0, SVM's instructions name L1's memory, real interrupts and NMIs of the host end
 * L2 as any guest.
 */
static struct svm_vmcb other;

static void l2_unwatched(void)
{
	u64 v, i;
	u32 out[4];

	out32(0x80, 0x1234);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_VM_HSAVE_PA, &v), ~0ull);
	GUEST_ASSERT_EQ(v, (u64)svm_hsave);
	GUEST_ASSERT_EQ(wrmsr_try(0x12345678, 1), GP_VECTOR);
	wrmsr(MSR_KERNEL_GS_BASE, 0x123000);
	asm volatile("vmsave %%rax" : : "a"(&other) : "memory");
	GUEST_ASSERT_EQ(other.kernel_gs_base, 0x123000);
	/* No memory of L1's */
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movabs $0x7000000000, %%rax; vmsave %%rax");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movabs $0x7000000000, %%rax; vmload %%rax");
	cpuid(0x80000000, 0, out);
	svm_clgi();
	svm_stgi();
	asm volatile("wbinvd; invd");
	/* Long enough for the host's timer to come by */
	for (i = 0; i < 300000; i++)
		guest_pause();
	GUEST_ASSERT_FAULTS(UD_VECTOR, "xor %%eax, %%eax; skinit");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "xor %%ecx, %%ecx; monitor");
	out32(0x81, 0x5678);
	asm volatile("hlt");
}

static void guest_unwatched(void)
{
	svm_guest_init(l2_unwatched);
	memset(svm_vmcb.intercept, 0, sizeof(svm_vmcb.intercept));
	svm_intercept(&svm_vmcb, ICPT_VMRUN, true);
	/* What L0 uses these fields for is not L1's to say. */
	svm_vmcb.int_ctl = 1u << 31 | 1u << 30 | 1u << 26 | 1u << 25 | 1u << 9;
	svm_vmcb.virt_ext = ~0ull;
	svm_vmcb.nested_ctl = 6;
	memset(svm_vmcb.rsvd_098, 0xff, sizeof(svm_vmcb.rsvd_098));
	memset(svm_vmcb.rsvd_0e0, 0xff, 0x40);
	svm_vmcb.tlb_ctl = 1;
	svm_vmrun(&svm_vmcb);
	GUEST_ASSERT(0);
}

TEST(nothing_intercepted)
{
	struct vcpu *vcpu;
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	vcpu = vm->vcpu;
	vcpu_set_long(vcpu, guest_unwatched, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x80);
	CHECK_EQ(*(u32 *)RUN_IO_DATA(vcpu), 0x1234);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x81);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	vm_destroy(vm);
}
