// SPDX-License-Identifier: GPL-2.0
/*
 * What: breakpoints of the guest and breakpoints of the host do not meet: a guest's armed ones are
 * nothing to the host's code at the same linear address, and the host's (perf's) still count after
 * a guest has run with its own debug registers or with none.
 * Conditions: a kernel with hardware breakpoints. QEMU's TCG keeps a guest's breakpoints armed at
 * #VMEXIT, with DR7 disabled: skipped there.
 * Expected: no SIGTRAP; as many hits as calls.
 */
#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"

static volatile u64 calls, word;

static void __attribute__((noinline)) target(void)
{
	calls++;
}

/* Armed at every exit; DR0 and DR1 as a host would use them. */
static void guest_armed(void)
{
	asm volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr7" : : "r"(target), "r"(&word), "r"(0xd0040aul));
	for (;;)
		guest_sync(0);
}

static void guest_without(void)
{
	for (;;)
		guest_sync(0);
}

TEST(guests_end_with_it)
{
	struct vm *vm = vm_create(1);
	unsigned int i;

	if (host_is_tcg())
		tap_skip("QEMU's TCG keeps them armed");
	vcpu_set_long(vm->vcpu, guest_armed, 0);
	for (i = 0; i < 100; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, 0);
		target();
		word = i;
	}
	CHECK_EQ(calls, 100);
	vm_destroy(vm);
}

static int watch(u32 type, const volatile void *addr)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_type = type, .bp_addr = (u64)addr, .exclude_kernel = 1, .exclude_hv = 1,
		.bp_len = type == HW_BREAKPOINT_X ? sizeof(long) : HW_BREAKPOINT_LEN_8,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	if (fd < 0)
		tap_skip("no hardware breakpoints: errno %d", errno);
	return fd;
}

static u64 hits(int fd)
{
	u64 count = 0;

	REQUIRE_EQ(read(fd, &count, sizeof(count)), sizeof(count));
	return count;
}

static void host_counts(void *guest)
{
	struct vm *vm = vm_create(1);
	int code = watch(HW_BREAKPOINT_X, target), data = watch(HW_BREAKPOINT_W, &word);
	unsigned int i;

	vcpu_set_long(vm->vcpu, guest, 0);
	for (i = 1; i <= 100; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, 0);
		target();
		word = i;
		CHECK_EQ(hits(code), i);
		CHECK_EQ(hits(data), i);
	}
	close(code);
	close(data);
	vm_destroy(vm);
}

TEST(hosts_stay_without)
{
	host_counts(guest_without);
}

TEST(hosts_stay_beside_guests)
{
	if (host_is_tcg())
		tap_skip("QEMU's TCG keeps the guest's armed");
	host_counts(guest_armed);
}
