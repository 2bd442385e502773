// SPDX-License-Identifier: GPL-2.0
/*
 * What: a host whose kernel does not trust its TSC.
 * Conditions: the host was booted with tsc=unstable.
 * Expected: KVM_GET_TSC_KHZ is -EIO, as documented; KVM_GET_CLOCK does not offer the TSC's part; a
 * guest's TSC does not go back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cpu.h"

static bool host_says_unstable(void)
{
	char line[4096];
	bool found;
	FILE *f = fopen("/proc/cmdline", "r");

	found = f && fgets(line, sizeof(line), f) && strstr(line, "tsc=unstable");
	if (f)
		fclose(f);
	return found;
}

TEST(frequency)
{
	struct vm *vm;

	if (!host_says_unstable())
		tap_skip("the host trusts its TSC");
	vm = vm_create(1);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_TSC_KHZ, NULL), -EIO);
	if (kvm_cap(vm->fd, KVM_CAP_VM_TSC_CONTROL) > 0)
		CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_TSC_KHZ, NULL), -EIO);
	vm_destroy(vm);
}

TEST(clock)
{
	struct kvm_clock_data data = { };
	struct vm *vm;

	if (!host_says_unstable())
		tap_skip("the host trusts its TSC");
	vm = vm_create(1);
	xioctl(vm->fd, KVM_GET_CLOCK, &data);
	CHECK_EQ(data.flags & (KVM_CLOCK_TSC_STABLE | KVM_CLOCK_HOST_TSC), 0);
	vm_destroy(vm);
}

static void guest_reads(void)
{
	u64 last = 0, now;

	for (;;) {
		now = rdtsc();
		GUEST_ASSERT(now > last);
		last = now;
		guest_sync(1);
	}
}

TEST(guest_goes_on)
{
	struct vm *vm;
	int i;

	if (!host_says_unstable())
		tap_skip("the host trusts its TSC");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_reads, 0);
	for (i = 0; i < 1000; i++)
		RUN_UNTIL_SYNC(vm->vcpu, 1);
	vm_destroy(vm);
}
