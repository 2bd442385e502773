// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_CAP_X86_DISABLE_EXITS: HLT and MWAIT that do not exit.
 * Conditions: KVM_CREATE_IRQCHIP; MWAIT where the host has it.
 * Expected: a guest's waits are not counted as exits, and what it waits for wakes it: its own timer
 * and other threads' interrupts. A vCPU that is stopped in such a HLT is halted, where the CPU
 * tells (VMX, not Bochs'). PV_UNHALT, whose kicks are remembered for a HLT that exits, is not
 * offered.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulator.h"
#include "pv.h"
#include "stats.h"

#define VECTOR	0x51
#define TIMER	0x61
#define WAITS	20
#define MSR_DEADLINE 0x6e0
#define MONITORED (GPA_HEAP + 0x1000)

static volatile u64 irqs, timers, waits, stop;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(APIC_EOI), 0);
}

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	timers++;
	wrmsr(X2(APIC_EOI), 0);
}

static int may_disable(void)
{
	int kvm = kvm_open(), what = kvm_cap(kvm, KVM_CAP_X86_DISABLE_EXITS);

	close(kvm);
	return what;
}

/* SVM has no such thing as a halted processor, and Bochs forgets it at an exit. */
static bool exits_tell_halted(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	return regs[1] == 0x756e6547 && !host_is_bochs();
}

static struct kvm_cpuid2 *cpuid_with_deadline(int kvm)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);

	cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 24;
	return cpuid;
}

static struct vm *waiting_vm(u64 disabled, void *fn)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS, .args = { disabled } };
	struct vm *vm;

	if ((may_disable() & disabled) != disabled)
		tap_skip("exits %#llx cannot be disabled here", (unsigned long long)disabled);
	guest_handlers[VECTOR] = on_irq;
	guest_handlers[TIMER] = on_timer;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid_with_deadline(vm->kvm));
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void guest_naps(void)
{
	u64 i;

	x2apic_on();
	wrmsr(X2(APIC_LVTT), 2 << 17 | TIMER);
	for (i = 1; i <= WAITS; i++) {
		wrmsr(MSR_DEADLINE, rdtsc() + 500000);
		while (timers < i)
			asm volatile("sti; hlt; cli");
	}
	guest_done();
}

TEST_TIMEOUT(own_timer, 120)
{
	struct vm *vm = waiting_vm(KVM_X86_DISABLE_EXITS_HLT, guest_naps);

	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(stat_of(vm->vcpu->fd, "halt_exits"), 0);
	vm_destroy(vm);
	/* The same guest with exits has them counted. */
	vm = waiting_vm(0, guest_naps);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK(stat_of(vm->vcpu->fd, "halt_exits") >= WAITS);
	vm_destroy(vm);
}

/* Each HLT is one wait: what ends it without an interrupt is counted too. */
static void guest_sleeps(void)
{
	x2apic_on();
	guest_sync(0);
	asm volatile("cli");
	while (!stop) {
		asm volatile("sti; hlt; cli");
		waits++;
	}
	guest_done();
}

static void send(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };

	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

TEST_TIMEOUT(others_interrupts, 120)
{
	struct vm *vm = waiting_vm(KVM_X86_DISABLE_EXITS_HLT, guest_sleeps);
	pthread_t thread;
	u64 i;

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	pthread_create(&thread, NULL, run_to_done, vm->vcpu);
	for (i = 1; i <= WAITS; i++) {
		usleep(2000);
		*guest_var(vm, &stop) = i == WAITS;
		send(vm);
		while (*guest_var(vm, &irqs) < i)
			usleep(100);
	}
	pthread_join(thread, NULL);
	CHECK_EQ(*guest_var(vm, &irqs), WAITS);
	/*
	 * A HLT ends by an interrupt and by nothing else, where the CPU lets the host know that it
	 * waits.
	 */
	if (exits_tell_halted())
		CHECK_EQ(*guest_var(vm, &waits), WAITS);
	else
		CHECK(*guest_var(vm, &waits) >= WAITS);
	vm_destroy(vm);
}

static void on_signal(int sig __attribute__((unused)))
{
}

static void *run_once_raw(void *vcpu)
{
	return (void *)(long)vcpu_run_raw(vcpu);
}

TEST_TIMEOUT(stopped_in_hlt, 120)
{
	struct vm *vm = waiting_vm(KVM_X86_DISABLE_EXITS_HLT, guest_sleeps);
	pthread_t thread;
	void *ret;
	int i;

	signal(SIGUSR1, on_signal);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	for (i = 1; i <= 5; i++) {
		vm->vcpu->run->immediate_exit = 0;
		pthread_create(&thread, NULL, run_once_raw, vm->vcpu);
		usleep(20000);
		vm->vcpu->run->immediate_exit = 1;
		pthread_kill(thread, SIGUSR1);
		pthread_join(thread, &ret);
		CHECK_EQ((long)ret, -EINTR);
		if (exits_tell_halted()) {
			CHECK_EQ(vcpu_mp_state(vm->vcpu), KVM_MP_STATE_HALTED);
			CHECK_EQ(*guest_var(vm, &waits), i / 3);
		}
		if (i == 2 || i == 5)
			send(vm);
	}
	*guest_var(vm, &stop) = 1;
	vm->vcpu->run->immediate_exit = 0;
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &irqs), 2);
	vm_destroy(vm);
}

static void guest_monitors(void)
{
	u64 i;

	x2apic_on();
	wrmsr(X2(APIC_LVTT), 2 << 17 | TIMER);
	for (i = 1; i <= WAITS; i++) {
		wrmsr(MSR_DEADLINE, rdtsc() + 500000);
		asm volatile("sti");
		while (timers < i) {
			asm volatile("monitor" : : "a"(MONITORED), "c"(0), "d"(0));
			if (timers < i)
				asm volatile("mwait" : : "a"(0), "c"(0));
		}
		asm volatile("cli");
	}
	guest_done();
}

TEST_TIMEOUT(mwait, 120)
{
	struct vm *vm = waiting_vm(KVM_X86_DISABLE_EXITS_MWAIT, guest_monitors);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(unhalt_is_not_offered)
{
	struct vm *vm = waiting_vm(KVM_X86_DISABLE_EXITS_HLT, guest_naps);
	struct kvm_cpuid2 *cpuid = cpuid_with_deadline(vm->kvm);

	CHECK(cpuid_entry(cpuid, KVM_CPUID_FEATURES, 0)->eax & 1 << KVM_FEATURE_PV_UNHALT);
	xioctl(vm->vcpu->fd, KVM_GET_CPUID2, cpuid);
	CHECK(!(cpuid_entry(cpuid, KVM_CPUID_FEATURES, 0)->eax & 1 << KVM_FEATURE_PV_UNHALT));
	free(cpuid);
	vm_destroy(vm);
}

TEST(errors)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS };
	struct vm *vm = vm_create_bare(0);
	u32 bit;

	for (bit = 0; bit < 32; bit++) {
		cap.args[0] = 1u << bit;
		CHECK_EQ(kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap), may_disable() & 1u << bit ? 0 : -EINVAL);
	}
	vcpu_create(vm, 0);
	cap.args[0] = KVM_X86_DISABLE_EXITS_PAUSE;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap), -EINVAL);
	vm_destroy(vm);
}
