// SPDX-License-Identifier: GPL-2.0
/*
 * What: STRATA_CAP_EXIT_EACH: KVM_RUN returns after every hardware exit, and the vCPU can be read
 * and written back there.
 * Conditions: strata.
 * Expected: at least one stop for each CPUID and WRMSR of the guest, which ends with what it would
 * have without them; a vCPU that exists already refuses the capability.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"

#define LOOPS	50
#define TSC_ADJUST 0x3b

static volatile u64 loops, sum;

static void guest_exits(void)
{
	u32 i;

	for (i = 0; i < LOOPS; i++) {
		u32 eax = 0x80000000, ebx, ecx = 0, edx;

		asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		sum += eax;
		wrmsr(TSC_ADJUST, i);
		sum += rdmsr(TSC_ADJUST);
		loops++;
	}
	guest_done();
}

static struct vm *stepping_vm(bool each)
{
	struct kvm_enable_cap cap = { .cap = STRATA_CAP_EXIT_EACH };
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);

	if (each)
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, guest_exits, 0);
	return vm;
}

/* Write back what was read: the vCPU must not notice. */
static void touch_state(int fd)
{
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	xioctl(fd, KVM_GET_VCPU_EVENTS, &events);
	xioctl(fd, KVM_GET_SREGS, &sregs);
	xioctl(fd, KVM_GET_REGS, &regs);
	xioctl(fd, KVM_SET_REGS, &regs);
	xioctl(fd, KVM_SET_VCPU_EVENTS, &events);
	xioctl(fd, KVM_SET_SREGS, &sregs);
}

static u64 run_through(struct vm *vm, unsigned int *stops)
{
	*stops = 0;
	for (;;) {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		if (vm->vcpu->run->exit_reason != STRATA_EXIT_EACH)
			break;
		touch_state(vm->vcpu->fd);
		++*stops;
	}
	REQUIRE_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	CHECK_EQ(*guest_var(vm, &loops), LOOPS);
	return *guest_var(vm, &sum);
}

TEST(stops_after_every_exit)
{
	struct vm *plain, *stepped;
	unsigned int none, stops;

	STRATA_ONLY("its own capability");
	plain = stepping_vm(false);
	stepped = stepping_vm(true);
	CHECK_EQ(run_through(plain, &none), run_through(stepped, &stops));
	CHECK_EQ(none, 0);
	CHECK(stops >= 2 * LOOPS);
	vm_destroy(plain);
	vm_destroy(stepped);
}

TEST(only_before_the_first_vcpu)
{
	struct kvm_enable_cap cap = { .cap = STRATA_CAP_EXIT_EACH };
	struct vm *vm;

	STRATA_ONLY("its own capability");
	vm = vm_create(1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap), -EINVAL);
	vm_destroy(vm);
}
