// SPDX-License-Identifier: GPL-2.0
/*
 * What: the local APIC's timer and who ends the guest for it: the CPU (VMX-preemption timer) or the
 * host's timer; while the guest spins, waits in HLT, or is not running at all; when the guest's TSC
 * is moved; a period that is too short.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: one interrupt for each timer, never early; with the preemption timer the host takes no
 * interrupt for it; a guest gets on whatever it asks of its timer.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "param.h"
#include "stats.h"

#define TIMER		0x61
#define MSR_TSC		0x10
#define MSR_DEADLINE	0x6e0
#define X2(reg)		(0x800 + (reg) / 16)
#define ROUNDS		200

enum { EOI = 0xb0, SVR = 0xf0, LVTT = 0x320, TMICT = 0x380, TDCR = 0x3e0 };

static volatile u64 timers, early, deadline, step;

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	timers++;
	early += rdtsc() < deadline;
	wrmsr(X2(EOI), 0);
}

static struct vm *timer_vm(void *fn)
{
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;
	int khz;

	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[TIMER] = on_timer;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	vcpu_create(vm, 0);
	cpuid = supported_cpuid(vm->kvm);
	cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 24;
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	xioctl(vm->vcpu->fd, KVM_SET_MP_STATE, &run);
	vcpu_set_long(vm->vcpu, fn, 0);
	khz = kvm_ioctl(vm->vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	if (khz < 0)
		tap_skip("the host's TSC is not stable");
	/* 200 us */
	*guest_var(vm, &step) = khz / 5;
	return vm;
}

static void timer_on(u32 mode)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	wrmsr(X2(TDCR), 0xb);
	wrmsr(X2(LVTT), TIMER | mode);
}

static void arm(u64 ticks)
{
	deadline = rdtsc() + ticks;
	wrmsr(MSR_DEADLINE, deadline);
}

static void guest_spins(void)
{
	u64 i;

	timer_on(2 << 17);
	guest_sti();
	guest_sync(1);
	for (i = 0; i < ROUNDS; i++) {
		arm(step);
		while (timers == i)
			;
	}
	guest_sync(2);
	/* Nanoseconds: one-shot, one cycle each */
	timer_on(0);
	deadline = 0;
	for (i = 0; i < ROUNDS; i++) {
		wrmsr(X2(TMICT), 200000);
		while (timers == ROUNDS + i)
			;
	}
	GUEST_ASSERT_EQ(timers, 2 * ROUNDS);
	GUEST_ASSERT_EQ(early, 0);
	guest_done();
}

static bool is_intel(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	return regs[1] == 0x756e6547;	/* "Genu" */
}

/* The host's own ticks come in either case; they are far fewer. */
static void judge(u64 n, bool by_cpu, const char *what)
{
	tap_note("%s: %llu exits for interrupts of the host in %u timers", what,
		 (unsigned long long)n, ROUNDS);
	if (by_cpu)
		CHECK(n < ROUNDS / 2);
	else
		CHECK(n >= ROUNDS / 2);
}

TEST(spinning)
{
	struct vm *vm = timer_vm(guest_spins);
	bool by_cpu = on_strata() && is_intel() && param_letter("preemption_timer") == 'Y';
	u64 start, middle;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	start = stat_of(vm->vcpu->fd, "irq_exits");
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	middle = stat_of(vm->vcpu->fd, "irq_exits");
	RUN_UNTIL_DONE(vm->vcpu);
	if (on_strata()) {
		judge(middle - start, by_cpu, "TSC deadline");
		judge(stat_of(vm->vcpu->fd, "irq_exits") - middle, by_cpu, "one-shot");
	}
	vm_destroy(vm);
}

static void guest_halts(void)
{
	u64 i;

	timer_on(2 << 17);
	for (i = 0; i < 20; i++) {
		arm(step * (i % 3));
		asm volatile("sti; hlt; cli");
		GUEST_ASSERT_EQ(timers, i + 1);
		GUEST_ASSERT_EQ(early, 0);
	}
	guest_done();
}

TEST(halted)
{
	struct vm *vm = timer_vm(guest_halts);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * The host's own timer may be late by the clock that the deadline is read from: a second is enough
 * for what is not lost.
 */
static void guest_waits_for(u64 nr)
{
	while (timers < nr && rdtsc() < deadline + step * 5 * 1000)
		guest_pause();
	GUEST_ASSERT_EQ(timers, nr);
}

static void guest_is_stopped(void)
{
	bool late;

	timer_on(2 << 17);
	guest_sti();
	arm(step * 50);
	guest_sync(1);
	guest_waits_for(1);
	GUEST_ASSERT_EQ(early, 0);
	GUEST_ASSERT_EQ(rdmsr(MSR_DEADLINE), 0);
	arm(step * 5 * 3600 * 1000);
	GUEST_ASSERT_EQ(rdmsr(MSR_DEADLINE), deadline);
	guest_sync(2);
	GUEST_ASSERT_EQ(timers, 1);
	guest_sync(3);
	guest_waits_for(2);
	GUEST_ASSERT_EQ(early, 0);
	arm(step * 50);
	wrmsr(MSR_DEADLINE, 0);
	/* On a busy host it may have been too late. */
	late = rdtsc() >= deadline;
	guest_sync(4);
	GUEST_ASSERT(timers == 2 || late);
	guest_done();
}

static void wait_for_deadline(struct vm *vm)
{
	u64 now;

	do {
		usleep(1000);
		CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_TSC, &now), 1);
	} while (now <= *guest_var(vm, &deadline));
}

/*
 * The deadline passes while nobody runs the vCPU, is an hour away, comes near because the TSC is
 * set, and is taken back.
 */
TEST(not_running)
{
	struct vm *vm = timer_vm(guest_is_stopped);
	u64 value, hour = *guest_var(vm, &step) * 5 * 3600 * 1000;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	wait_for_deadline(vm);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_DEADLINE, &value), 1);
	CHECK_EQ(value, *guest_var(vm, &deadline));
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_TSC, &value), 1);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_TSC, value + hour), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 4);
	wait_for_deadline(vm);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* A count of 1, over and over: a tick each nanosecond. */
static void guest_wants_all(void)
{
	u64 start;

	timer_on(1 << 17);
	guest_sti();
	start = rdtsc();
	wrmsr(X2(TMICT), 1);
	while (timers < 50)
		;
	wrmsr(X2(TMICT), 0);
	/* 200 us between any two, and a little for the measured rate */
	GUEST_ASSERT(rdtsc() - start > step * 48);
	guest_done();
}

TEST(shortest_period)
{
	struct vm *vm = timer_vm(guest_wants_all);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
