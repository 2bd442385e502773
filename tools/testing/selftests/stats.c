// SPDX-License-Identifier: GPL-2.0
/*
 * What: every counter of the binary statistics counts what its name says.
 * Conditions: strata: the table below lists its counters.
 * Expected: no counter without a row here; each moves when its cause happens, and only then.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "stats.h"

#define MMIO 0x20000000ull

/*
 * How a counter's cause is brought about: by guest_busy(), by a case of its own, or where it can be
 * (nested guests, Intel).
 */
enum how { BUSY, HALTED, ELSEWHERE };

static const struct {
	const char *name;
	enum how how;
} vcpu_counters[] = {
	{ "exits", BUSY },
	{ "io_exits", BUSY },
	{ "mmio_exits", BUSY },
	{ "signal_exits", HALTED },
	{ "irq_window_exits", BUSY },
	{ "nmi_window_exits", ELSEWHERE },
	{ "halt_exits", HALTED },
	{ "halt_attempted_poll", HALTED },
	{ "halt_successful_poll", ELSEWHERE },
	{ "halt_wakeup", HALTED },
	{ "blocking", HALTED },
	{ "irq_exits", ELSEWHERE },
	{ "insn_emulation", BUSY },
	{ "insn_emulation_fail", ELSEWHERE },
	{ "hypercalls", BUSY },
	{ "irq_injections", BUSY },
	{ "nmi_injections", BUSY },
	{ "req_event", BUSY },
	{ "nested_run", ELSEWHERE },
	{ "guest_mode", ELSEWHERE },
	{ "pf_taken", BUSY },
	{ "pf_fixed", BUSY },
	{ "pf_fast", ELSEWHERE },
	{ "pf_emulate", BUSY },
	{ "tlb_flush", ELSEWHERE },
	{ "l1d_flush", ELSEWHERE },
	{ "preemption_reported", ELSEWHERE },
};

#define NR_COUNTERS (sizeof(vcpu_counters) / sizeof(vcpu_counters[0]))

static bool is_listed(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_COUNTERS; i++)
		if (!strcmp(vcpu_counters[i].name, name))
			return true;
	return false;
}

TEST(names)
{
	struct kvm_stats_desc *desc = malloc(4096);
	struct kvm_stats_header h;
	unsigned int i;
	struct vm *vm;
	int fd, vm_fd;
	size_t size;

	STRATA_ONLY("the table of counters");
	vm = vm_create(1);
	fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	vm_fd = xioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	for (i = 0; i < NR_COUNTERS; i++)
		if (stat_value(fd, vcpu_counters[i].name) == ~0ull)
			tap_fail(__FILE__, __LINE__, "no counter %s", vcpu_counters[i].name);
	CHECK(stat_value(vm_fd, "mmu_pages") != ~0ull);
	CHECK(stat_value(vm_fd, "nx_lpage_splits") != ~0ull);
	CHECK(stat_value(vm_fd, "remote_tlb_flush") != ~0ull);
	REQUIRE_EQ(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	size = sizeof(*desc) + h.name_size;
	for (i = 0; i < h.num_desc; i++) {
		REQUIRE_EQ(pread(fd, desc, size, h.desc_offset + i * size), (ssize_t)size);
		if (!is_listed(desc->name))
			tap_fail(__FILE__, __LINE__, "%s has no row in this test", desc->name);
	}
	vm_destroy(vm);
}

static volatile u64 taken;

static void on_event(struct guest_frame *frame)
{
	(void)frame;
	taken++;
}

static void guest_busy(void)
{
	guest_handlers[0x31] = on_event;
	guest_handlers[NMI_VECTOR] = on_event;
	guest_sync(1);
	*(volatile u32 *)MMIO = 1;
	asm volatile("vmmcall" : : "a"(99) : "memory");
	asm volatile("sti; nop; cli");
	GUEST_ASSERT_EQ(taken, 2);
	guest_done();
}

static void guest_busy_vmx(void)
{
	guest_handlers[0x31] = on_event;
	guest_handlers[NMI_VECTOR] = on_event;
	guest_sync(1);
	*(volatile u32 *)MMIO = 1;
	asm volatile("vmcall" : : "a"(99) : "rbx", "rcx", "rdx", "memory");
	asm volatile("sti; nop; cli");
	GUEST_ASSERT_EQ(taken, 2);
	guest_done();
}

TEST(a_busy_guest)
{
	struct kvm_interrupt irq = { .irq = 0x31 };
	u64 before[NR_COUNTERS], after;
	unsigned int i;
	enum run_end end;
	struct vm *vm;
	int fd, vm_fd;

	STRATA_ONLY("the table of counters");
	vm = vm_create(1);
	fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	vm_fd = xioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	for (i = 0; i < NR_COUNTERS; i++)
		before[i] = stat_value(fd, vcpu_counters[i].name);
	vcpu_set_long(vm->vcpu, host_is_amd() ? guest_busy : guest_busy_vmx, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	do
		end = vcpu_run(vm->vcpu);
	while (end == RUN_OTHER);
	CHECK_EQ(end, RUN_DONE);
	for (i = 0; i < NR_COUNTERS; i++) {
		after = stat_value(fd, vcpu_counters[i].name);
		if (vcpu_counters[i].how == BUSY && after <= before[i])
			tap_fail(__FILE__, __LINE__, "%s did not move from %lu",
				 vcpu_counters[i].name, after);
	}
	CHECK_EQ(stat_value(fd, "hypercalls"), 1);
	CHECK_EQ(stat_value(fd, "nmi_injections"), 1);
	CHECK_EQ(stat_value(fd, "mmio_exits"), 1);
	CHECK_EQ(stat_value(fd, "halt_exits"), 0);
	CHECK_EQ(stat_value(fd, "insn_emulation_fail"), 0);
	CHECK_EQ(stat_value(fd, "nested_run"), 0);
	CHECK(stat_value(vm_fd, "mmu_pages") > 0);
	vm_destroy(vm);
}

static void guest_halts(void)
{
	asm volatile("hlt");
	guest_done();
}

static void on_signal(int signal)
{
	(void)signal;
}

static void *halted_thread(void *arg)
{
	return (void *)(long)vcpu_run_raw(arg);
}

TEST(a_halted_guest)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t thread;
	unsigned int i;
	struct vm *vm;
	void *result;
	int fd;

	STRATA_ONLY("the table of counters");
	sigaction(SIGUSR1, &action, NULL);
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
	vcpu_create(vm, 0);
	fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	vcpu_set_long(vm->vcpu, guest_halts, 0);
	REQUIRE(!pthread_create(&thread, NULL, halted_thread, vm->vcpu));
	for (i = 0; i < 5000 && stat_value(fd, "blocking") != 1; i++)
		usleep(1000);
	CHECK_EQ(stat_value(fd, "blocking"), 1);
	CHECK_EQ(stat_value(fd, "halt_exits"), 1);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, &result);
	CHECK_EQ((long)result, -4);
	CHECK_EQ(stat_value(fd, "blocking"), 0);
	CHECK(stat_value(fd, "halt_wakeup") >= 1);
	CHECK_EQ(stat_value(fd, "signal_exits"), 1);
	vm_destroy(vm);
}
