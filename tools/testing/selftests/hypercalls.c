// SPDX-License-Identifier: GPL-2.0
/*
 * What: hypercalls by either vendor's instruction: in the guest, by its user mode, and by an L2
 * whose L1 intercepts VMMCALL.
 * Conditions: on Intel VMMCALL is left out, which is #UD there.
 * Expected: both are hypercalls, three bytes long; an unknown one gives -KVM_ENOSYS, one below CPL
 * 0 -KVM_EPERM; L1 gets an exit of VMMCALL.
 */
#include <string.h>

#include "svm.h"

#define ENOSYS_KVM	-1000l
#define UNKNOWN		99

static bool amd(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	return r[1] == 0x68747541 || r[1] == 0x6f677948;	/* "Auth", "Hygo" */
}

#define CALL(insn) ({ long ret_ = UNKNOWN; asm volatile(insn : "+a"(ret_) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory"); ret_; })

static volatile u64 both;

static void guest_calls(void)
{
	GUEST_ASSERT_EQ(CALL("vmcall"), ENOSYS_KVM);
	if (both)
		GUEST_ASSERT_EQ(CALL("vmmcall"), ENOSYS_KVM);
	/*
	 * Other undefined instructions stay so, VMCALL with a prefix that makes it one among them.
	 */
	GUEST_ASSERT_FAULTS(UD_VECTOR, "ud2");
	if (both)
		GUEST_ASSERT_FAULTS(UD_VECTOR, "lock; .byte 0x0f, 0x01, 0xc1");
	guest_done();
}

TEST(either_instruction)
{
	struct vm *vm = vm_create(1);

	STRATA_ONLY("the in-tree module rewrites the instruction, which is in the host's copy as well");
	*guest_var(vm, &both) = amd();
	vcpu_set_long(vm->vcpu, guest_calls, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void l2_calls(void)
{
	asm volatile("vmcall");
	asm volatile("vmmcall");
}

static void guest_l1(void)
{
	u64 first;

	svm_guest_init(l2_calls);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	first = svm_vmcb.rip;
	GUEST_ASSERT_EQ(((u8 *)first)[2], 0xc1);
	svm_vmcb.rip += 3;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(((u8 *)svm_vmcb.rip)[2], 0xd9);
	/* L1's own intercept of #UD is first. */
	svm_intercept(&svm_vmcb, SVM_EXIT_EXCP_BASE + UD_VECTOR, true);
	svm_vmcb.rip = first;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + UD_VECTOR);
	guest_done();
}

TEST(in_l2)
{
	struct vm *vm;

	need_svm();
	STRATA_ONLY("the in-tree module rewrites the instruction");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_l1, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
