// SPDX-License-Identifier: GPL-2.0
/*
 * What: CR4.MCE, which the CPU has set for the host's sake whatever a guest has there: read by a guest with and without it, by L2 whose L1 has it or not.
 * Conditions: for L2, guests are offered SVM.
 * Expected: each sees what it wrote; SREGS and L1's control block, too.
 */
#include "svm.h"

#define CR4_MCE	(1ull << 6)
#define VMRUNS	8

static void toggle(void)
{
	u64 cr4 = read_cr4() ^ CR4_MCE, other = 0;

	write_cr4(cr4);
	GUEST_ASSERT_EQ(read_cr4(), cr4);
	/* Any register may be the target. */
	asm volatile("mov %%cr4, %%r15; mov %%r15, %0" : "=r"(other) : : "r15");
	GUEST_ASSERT_EQ(other, cr4);
}

static void guest_toggles(void)
{
	for (;;) {
		toggle();
		guest_sync(read_cr4());
	}
}

static u64 cr4_of(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	return sregs.cr4;
}

TEST(guest)
{
	struct vm *vm = vm_create(1);
	u64 cr4;
	int i;

	vcpu_set_long(vm->vcpu, guest_toggles, 0);
	cr4 = cr4_of(vm->vcpu);
	for (i = 1; i <= 4; i++) {
		cr4 ^= CR4_MCE;
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(vcpu_sync_value(vm->vcpu), cr4);
		CHECK_EQ(cr4_of(vm->vcpu), cr4);
	}
	vm_destroy(vm);
}

static void l2_toggles(void)
{
	for (;;) {
		toggle();
		guest_sync(read_cr4());
		vmmcall();
	}
}

/* Both levels change theirs, L2's at each VMRUN, L1's at each other one. */
static void guest_l1(void)
{
	u64 l1 = read_cr4(), l2, i;

	svm_guest_init(l2_toggles);
	l2 = svm_vmcb.cr4;
	for (i = 1; i <= VMRUNS; i++) {
		if (i & 1)
			toggle(), l1 ^= CR4_MCE;
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
		l2 ^= CR4_MCE;
		GUEST_ASSERT_EQ(svm_vmcb.cr4, l2);
		GUEST_ASSERT_EQ(read_cr4(), l1);
		svm_vmcb.rip += 3;
	}
	guest_done();
}

TEST(both_levels)
{
	struct vm *vm;
	int i;

	need_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_l1, 0);
	for (i = 0; i < VMRUNS; i++) {
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(cr4_of(vm->vcpu), vcpu_sync_value(vm->vcpu));
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
