// SPDX-License-Identifier: GPL-2.0
/*
 * What: counters of the binary statistics whose causes take more than a busy guest (see stats):
 * NMIs in an NMI's handler, the dirty log's write faults, flushes, instructions that nobody can
 * emulate, the host's interrupts; looking for work before a halted vCPU sleeps, and
 * KVM_CAP_HALT_POLL, which sets for how long.
 * Conditions: strata; the last needs a local APIC in the kernel.
 * Expected: each counts its cause; a VM whose longest time to look is 0 never looks.
 */
#include <string.h>

#include "cpu.h"
#include "stats.h"

#define MMIO	0x20000000ull
#define SLOT	0x10000000ull
#define PAGES	32
#define SIZE	(PAGES * 4096)

static u64 count(struct vcpu *vcpu, const char *name)
{
	static int fd = -1;

	if (fd < 0)
		fd = xioctl(vcpu->fd, KVM_GET_STATS_FD, NULL);
	return stat_value(fd, name);
}

static volatile u64 nmis;

/* The first handler is still at work when the next NMI comes. */
static void on_nmi(struct guest_frame *frame __attribute__((unused)))
{
	if (!nmis++)
		guest_sync(2);
}

static void guest_two_nmis(void)
{
	guest_sync(1);
	GUEST_ASSERT_EQ(nmis, 2);
	guest_done();
}

TEST(nmi_windows)
{
	struct vm *vm;

	STRATA_ONLY("the table of counters");
	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_two_nmis, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK(count(vm->vcpu, "nmi_window_exits") >= 1);
	CHECK_EQ(count(vm->vcpu, "nmi_injections"), 2);
	vm_destroy(vm);
}

static void guest_writes(void)
{
	u64 gpa, round;

	for (round = 1;; round++) {
		for (gpa = SLOT; gpa < SLOT + SIZE; gpa += 4096)
			*(volatile u64 *)gpa = round;
		guest_sync(round);
	}
}

/*
 * Only the first write since the log was taken faults, and needs nothing but the right to write. A
 * CPU that logs itself has no faults.
 */
TEST(write_faults_and_flushes)
{
	static u64 bitmap[1];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	u8 *mem = host_alloc(SIZE, 4096);
	struct vm *vm;
	u64 fast, flushes;

	STRATA_ONLY("the table of counters");
	vm = vm_create(1);
	memset(mem, 0, SIZE);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_writes, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	fast = count(vm->vcpu, "pf_fast");
	flushes = count(vm->vcpu, "tlb_flush");
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	CHECK_EQ(bitmap[0], (1ull << PAGES) - 1);
	fast = count(vm->vcpu, "pf_fast") - fast;
	CHECK(fast == PAGES || fast == 0);
	CHECK(count(vm->vcpu, "tlb_flush") > flushes);
	vm_destroy(vm);
}

static void guest_hopeless(void)
{
	asm volatile("fxsave (%0)" : : "r"(MMIO) : "memory");
	guest_done();
}

TEST(failed_emulation)
{
	struct vm *vm;

	STRATA_ONLY("the table of counters");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_hopeless, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(count(vm->vcpu, "insn_emulation_fail"), 1);
	vm_destroy(vm);
}

static void guest_spins(void)
{
	u64 i, round;

	guest_sti();
	for (round = 1;; round++) {
		for (i = 0; i < 1000000; i++)
			guest_pause();
		guest_sync(round);
	}
}

/* The host's own clock ticks. */
TEST_TIMEOUT(interrupts_of_the_host, 120)
{
	struct vm *vm;
	u64 round;

	STRATA_ONLY("the table of counters");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_spins, 0);
	for (round = 1; round < 200 && !count(vm->vcpu, "irq_exits"); round++)
		RUN_UNTIL_SYNC(vm->vcpu, round);
	CHECK(count(vm->vcpu, "irq_exits") > 0);
	vm_destroy(vm);
}

#define TIMER		0x61
#define X2(reg)		(0x800 + (reg) / 16)

enum { EOI = 0xb0, SVR = 0xf0, LVTT = 0x320, TMICT = 0x380, TDCR = 0x3e0 };

static volatile u64 timers;

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	timers++;
	wrmsr(X2(EOI), 0);
}

/* HLT until the timer of 100 us, over and over */
static void guest_halts(void)
{
	u64 round;

	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	wrmsr(X2(TDCR), 0xb);
	wrmsr(X2(LVTT), TIMER);
	for (round = 1;; round++) {
		wrmsr(X2(TMICT), 100000);
		asm volatile("sti; hlt; cli");
		/* The interrupt may have come before the HLT, and another one ended it. */
		GUEST_ASSERT(timers >= round);
		guest_sync(round);
	}
}

static struct vm *halting_vm(u64 ns)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL, .args[0] = ns };
	struct vm *vm;

	guest_handlers[TIMER] = on_timer;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vm->vcpu, guest_halts, 0);
	return vm;
}

TEST(never_looks)
{
	struct vm *vm;
	u64 round;

	STRATA_ONLY("the table of counters");
	vm = halting_vm(0);
	for (round = 1; round <= 50; round++)
		RUN_UNTIL_SYNC(vm->vcpu, round);
	CHECK_EQ(count(vm->vcpu, "halt_attempted_poll"), 0);
	CHECK_EQ(count(vm->vcpu, "halt_successful_poll"), 0);
	CHECK(count(vm->vcpu, "halt_wakeup") > 0);
	vm_destroy(vm);
}

TEST_TIMEOUT(looks_for_work, 120)
{
	struct vm *vm;
	u64 round;

	STRATA_ONLY("the table of counters");
	vm = halting_vm(1000000000);
	for (round = 1; round < 2000 && !count(vm->vcpu, "halt_successful_poll"); round++)
		RUN_UNTIL_SYNC(vm->vcpu, round);
	CHECK(count(vm->vcpu, "halt_successful_poll") > 0);
	CHECK(count(vm->vcpu, "halt_attempted_poll") >= count(vm->vcpu, "halt_successful_poll"));
	vm_destroy(vm);
}
