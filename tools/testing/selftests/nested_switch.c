// SPDX-License-Identifier: GPL-2.0
/*
 * What: the module parameter "nested": what userspace and guests find with it on and off.
 * Conditions: none; guests only on AMD hosts.
 * Expected: the parameter reads N on Intel hosts. On, guests are offered SVM if their CPUID has it;
 * off, neither capability nor ioctls nor instructions are there, whatever CPUID says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "svm.h"

static bool parameter(void)
{
	FILE *f = fopen("/sys/module/strata/parameters/nested", "r");
	int c = f ? fgetc(f) : 0;

	if (f)
		fclose(f);
	if (c != 'Y' && c != 'N')
		tap_skip("no such parameter");
	return c == 'Y';
}

static struct vm *create(void *fn, bool shown)
{
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	struct kvm_cpuid_entry2 *e = cpuid_entry(cpuid, 0x80000001, 0);

	e->ecx = (e->ecx & ~4u) | (shown ? 4 : 0);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void l2_main(void)
{
	vmmcall();
}

static void guest_there(void)
{
	svm_guest_init(l2_main);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	/* With SVM off GIF is set. */
	svm_clgi();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
	guest_sync(1);
	GUEST_ASSERT_FAULTS(UD_VECTOR, "stgi");
	guest_done();
}

static void guest_absent(void)
{
	GUEST_ASSERT_EQ(wrmsr_try(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_HSAVE_PA, 0x5000), GP_VECTOR);
	GUEST_ASSERT_FAULTS(UD_VECTOR, "mov $0x1000, %%eax; vmrun %%rax");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "stgi");
	guest_done();
}

TEST(capability)
{
	struct kvm_nested_state s = { .size = sizeof(s) };
	bool on = parameter();
	struct vm *vm = vm_create(1);

	/* The parameter says what is offered, not what was asked for. */
	if (!host_is_amd())
		CHECK_EQ(on, false);
	CHECK_EQ(!!(svm_features() & SVM_FEATURE_NP), on);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NESTED_STATE) > 0, on);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_NESTED_STATE, &s), on ? 0 : -ENOTTY);
	if (on)
		CHECK_EQ(s.flags, KVM_STATE_NESTED_GIF_SET);
	s.flags = KVM_STATE_NESTED_GIF_SET;
	s.format = KVM_STATE_NESTED_FORMAT_SVM;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_NESTED_STATE, &s), on ? 0 : -ENOTTY);
	vm_destroy(vm);
}

TEST(instructions)
{
	bool on = parameter();
	struct vm *vm;

	if (!host_is_amd())
		tap_skip("not an AMD host");
	vm = create(on ? guest_there : guest_absent, true);
	if (on) {
		struct kvm_nested_state s = { .size = sizeof(s) };

		RUN_UNTIL_SYNC(vm->vcpu, 1);
		xioctl(vm->vcpu->fd, KVM_GET_NESTED_STATE, &s);
		CHECK_EQ(s.flags, KVM_STATE_NESTED_GIF_SET);
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(hidden_by_cpuid)
{
	struct vm *vm;

	parameter();
	if (!host_is_amd())
		tap_skip("not an AMD host");
	vm = create(guest_absent, false);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
