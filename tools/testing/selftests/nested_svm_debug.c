// SPDX-License-Identifier: GPL-2.0
/*
 * What: userspace steps through L2 and has software breakpoints in it, while L1 intercepts #DB and
 * #BP.
 * Conditions: guests are offered SVM. TCG does not intercept INT3, and a step of a guest ends
 * Bochs: each shows one half.
 * Expected: the stops are userspace's, as in L1, and L1 sees nothing of them; what is L2's own is
 * L1's.
 */
#include "emulator.h"
#include "svm.h"

#define ICPT_EXCEPTION	0x40

extern char l2_first[], l2_second[], l2_third[];

__attribute__((noinline)) static void l2_main(void)
{
	asm volatile("outb %%al, $0x30\n"
		     "l2_first: nop\n"
		     "l2_second: nop\n"
		     "l2_third: nop\n\t"
		     "vmmcall" : : : "memory");
}

static void guest_main(void)
{
	svm_guest_init(l2_main);
	svm_intercept(&svm_vmcb, ICPT_EXCEPTION + DB_VECTOR, true);
	svm_intercept(&svm_vmcb, ICPT_EXCEPTION + BP_VECTOR, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	if (guest_loses_cr2)	/* Bochs, which a step ends */
		guest_done();
	/* Its own trap is L1's still. */
	svm_guest_restart((void *)l2_first);
	svm_vmcb.rflags |= RFLAGS_TF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + DB_VECTOR);
	GUEST_ASSERT_EQ(svm_vmcb.rip, (u64)l2_second);
	guest_done();
}

static void debug(struct vcpu *vcpu, u32 control)
{
	struct kvm_guest_debug dbg = { .control = control };

	xioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &dbg);
}

static struct vm *vm_in_l2(void)
{
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_main, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, 0x30);
	return vm;
}

static void expect_stop(struct vcpu *vcpu, unsigned int vector, const void *pc)
{
	RUN_UNTIL(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.exception, vector);
	CHECK_EQ(vcpu->run->debug.arch.pc, (u64)pc);
}

TEST(single_step)
{
	struct vm *vm;
	unsigned int i;

	if (host_is_bochs_svm())
		tap_skip("Bochs dies of stepping an SVM guest");
	vm = vm_in_l2();
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	/* The OUT may be over already. */
	for (i = 0; i < 2; i++) {
		RUN_UNTIL(vm->vcpu, KVM_EXIT_DEBUG);
		if (vm->vcpu->run->debug.arch.pc == (u64)l2_second)
			break;
		CHECK_EQ(vm->vcpu->run->debug.arch.pc, (u64)l2_first);
	}
	CHECK(i < 2);
	expect_stop(vm->vcpu, DB_VECTOR, l2_third);
	debug(vm->vcpu, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(software_breakpoint)
{
	struct vm *vm;
	u8 *code, saved;

	if (host_is_tcg())
		tap_skip("QEMU's TCG does not intercept INT3");
	vm = vm_in_l2();
	code = gpa_to_host(vm, (u64)l2_second);
	saved = *code;
	*code = 0xcc;
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP);
	expect_stop(vm->vcpu, BP_VECTOR, l2_second);
	*code = saved;
	debug(vm->vcpu, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
