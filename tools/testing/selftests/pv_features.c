// SPDX-License-Identifier: GPL-2.0
/*
 * What: the other paravirtual interfaces: CPUID's leaf, steal time with its preemption mark and TLB
 * flushes, PV EOI, IPIs, kick and yield by hypercall, POLL_CONTROL,
 * KVM_CAP_ENFORCE_PV_FEATURE_CPUID.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: CPUID says what works; no interrupt, no kick and no flush is lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "pv.h"

#define VECTOR	0x51
#define LOWER	0x41
#define STEAL(i) (GPA_HEAP + 0x100 * (i))
#define EOI_WORD (GPA_HEAP + 0x1000)
#define WINDOW	0x700000ull

static volatile u64 irqs, lazy, nmis, ready, done;

static struct kvm_steal_time *steal(u64 i)
{
	return (void *)STEAL(i);
}

static u32 features(struct vm *vm)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	u32 eax = cpuid_entry(cpuid, KVM_CPUID_FEATURES, 0)->eax;

	free(cpuid);
	return eax;
}

TEST(cpuid_says_what_there_is)
{
	static const struct { u32 index; u64 val; } msrs[] = {
		{ MSR_KVM_WALL_CLOCK, 0x123441 }, { MSR_KVM_SYSTEM_TIME, 0x123441 }, { MSR_KVM_WALL_CLOCK_NEW, 0x123441 },
		{ MSR_KVM_SYSTEM_TIME_NEW, 0x123441 }, { MSR_KVM_STEAL_TIME, 0x123441 }, { MSR_KVM_PV_EOI_EN, 0x123441 },
		{ MSR_KVM_POLL_CONTROL, 0 }, { MSR_KVM_ASYNC_PF_EN, 0 }, { MSR_KVM_ASYNC_PF_INT, 0x41 }, { MSR_KVM_ASYNC_PF_ACK, 0 },
	};
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 4 * 512);
	struct vm *vm = vm_create_bare(1);
	unsigned int i, j;
	u64 value;

	STRATA_ONLY("not everything is offered");
	CHECK_EQ(features(vm), 0x01007afb);
	list->nmsrs = 512;
	xioctl(vm->kvm, KVM_GET_MSR_INDEX_LIST, list);
	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		for (j = 0; j < list->nmsrs && list->indices[j] != msrs[i].index; j++)
			;
		CHECK(j < list->nmsrs);
		/* There is no memory: a SET looks at none. */
		CHECK_EQ(vcpu_set_msr(vm->vcpu, msrs[i].index, msrs[i].val), 1);
		CHECK_EQ(vcpu_get_msr(vm->vcpu, msrs[i].index, &value), 1);
		CHECK_EQ(value, msrs[i].val);
	}
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_STEAL_TIME, 0x1003), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_PV_EOI_EN, 0x1002), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_POLL_CONTROL, 2), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_ASYNC_PF_EN, 0x1001), 0);
	vm_destroy(vm);
}

static void guest_enforced(void)
{
	u32 regs[4];
	u64 value;

	cpuid(KVM_CPUID_FEATURES, 0, regs);
	GUEST_ASSERT_EQ(regs[0], 1 << KVM_FEATURE_CLOCKSOURCE2);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_KVM_SYSTEM_TIME, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_KVM_STEAL_TIME, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_KVM_PV_EOI_EN, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_KVM_POLL_CONTROL, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 1, 0, 0, VECTOR), -KVM_ENOSYS);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_KICK_CPU, 0, 0, 0, 0), -KVM_ENOSYS);
	GUEST_ASSERT_EQ(pv_call(100, 0, 0, 0, 0), -KVM_ENOSYS);
	guest_done();
}

TEST(enforced)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args[0] = 1 };
	struct vm *vm = pv_apic_vm(1, guest_enforced);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);

	cpuid_entry(cpuid, KVM_CPUID_FEATURES, 0)->eax = 1 << KVM_FEATURE_CLOCKSOURCE2;
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	xioctl(vm->vcpu->fd, KVM_ENABLE_CAP, &cap);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_STEAL_TIME, 0), 1);
	RUN_UNTIL_DONE(vm->vcpu);
	cap.cap = KVM_CAP_IRQCHIP;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_ENABLE_CAP, &cap), -EINVAL);
	vm_destroy(vm);
}

static void guest_waits_for_steal(void)
{
	volatile struct kvm_steal_time *st = steal(0);

	guest_sti();
	wrmsr(MSR_KVM_STEAL_TIME, STEAL(0) | 1);
	GUEST_ASSERT_EQ(st->version & 1, 0);
	GUEST_ASSERT_EQ(st->preempted, 0);
	while (!st->steal)
		GUEST_ASSERT_EQ(st->preempted, 0);
	GUEST_ASSERT_EQ(st->version & 1, 0);
	guest_done();
}

static volatile bool stop;

static void *burn(void *arg)
{
	while (!stop)
		;
	return arg;
}

TEST_TIMEOUT(steal_time, 120)
{
	struct vm *vm = pv_apic_vm(1, guest_waits_for_steal);
	pthread_t rival;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pthread_create(&rival, NULL, burn, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	stop = true;
	pthread_join(rival, NULL);
	vm_destroy(vm);
}

/*
 * The second vCPU sleeps in HLT; the first changes a mapping, asks for the flush in its page, and
 * wakes it. Under the mark nobody sends an interrupt for the flush itself.
 */
static void on_wake(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(APIC_EOI), 0);
}

static void guest_flushed(u64 me)
{
	volatile u64 *through = (void *)WINDOW;
	volatile struct kvm_steal_time *st = steal(1);
	u64 i;

	x2apic_on();
	if (!me) {
		guest_sti();
		for (i = 1; i <= 20; i++) {
			u8 mark = KVM_VCPU_PREEMPTED;

			while (ready < i || !__atomic_compare_exchange_n(
						    &st->preempted, &mark,
						    KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
				mark = KVM_VCPU_PREEMPTED;
				guest_pause();
			}
			/*
			 * The host's thread turns the page now, between the mark and the wake-up.
			 */
			guest_sync(i);
			wrmsr(X2(APIC_ICR), 1ull << 32 | VECTOR);
			while (done < i)
				guest_pause();
		}
		guest_done();
	}
	wrmsr(MSR_KVM_STEAL_TIME, STEAL(1) | 1);
	asm volatile("cli");
	for (i = 1; i <= 20; i++) {
		GUEST_ASSERT_EQ(*through, i - 1);
		ready = i;
		while (irqs < i)
			asm volatile("sti; hlt; cli");
		GUEST_ASSERT_EQ(*through, i);
		GUEST_ASSERT_EQ(st->preempted, 0);
		done = i;
	}
	guest_done();
}

TEST_TIMEOUT(tlb_flush_of_a_sleeper, 120)
{
	struct vm *vm;
	pthread_t thread;
	u64 *pte, i;

	guest_handlers[VECTOR] = on_wake;
	vm = pv_apic_vm(2, guest_flushed);
	for (i = 0; i <= 20; i++)
		*(u64 *)gpa_to_host(vm, GPA_HEAP + 0x100000 + i * 4096) = i;
	vm_map_page(vm, WINDOW, GPA_HEAP + 0x100000, PTE_P | PTE_W);
	pte = vm_pte(vm, WINDOW, 1);
	pthread_create(&thread, NULL, run_to_done, &vm->vcpu[1]);
	for (i = 1; i <= 20; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, i);
		*pte = (GPA_HEAP + 0x100000 + i * 4096) | PTE_P | PTE_W;
	}
	RUN_UNTIL_DONE(vm->vcpu);
	pthread_join(thread, NULL);
	vm_destroy(vm);
}

static void end_interrupt(void)
{
	bool cleared;

	asm volatile("lock btrl $0, %1; setc %0" : "=r"(cleared), "+m"(*(volatile u32 *)EOI_WORD) : : "cc", "memory");
	if (cleared)
		lazy++;
	else
		wrmsr(X2(APIC_EOI), 0);
}

static void on_pv_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	end_interrupt();
}

static void on_exiting_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	/* The exit takes the offer back. */
	guest_sync(0x100);
	GUEST_ASSERT_EQ(*(volatile u32 *)EOI_WORD, 0);
	end_interrupt();
}

static volatile bool cpu_ends;

static void guest_pv_eoi(void)
{
	u64 i, before;

	x2apic_on();
	wrmsr(MSR_KVM_PV_EOI_EN, EOI_WORD | 1);
	asm volatile("sti; nop");
	for (i = 1; i <= 100; i++) {
		wrmsr(X2(APIC_SELF), i & 1 ? VECTOR : LOWER);
		GUEST_ASSERT_EQ(irqs, i);
	}
	/* Nothing is left to memory where the CPU ends interrupts by itself. */
	GUEST_ASSERT(cpu_ends ? !lazy : lazy > 50);
	/*
	 * Two at once: the one behind waits for the first one's end, so that is not left to memory.
	 */
	before = lazy;
	asm volatile("cli");
	wrmsr(X2(APIC_SELF), VECTOR);
	wrmsr(X2(APIC_SELF), LOWER);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(irqs, 102);
	GUEST_ASSERT(lazy <= before + 1);
	asm volatile("sti; nop");
	guest_handlers[VECTOR] = on_exiting_irq;
	before = lazy;
	wrmsr(X2(APIC_SELF), VECTOR);
	GUEST_ASSERT_EQ(lazy, before);
	guest_handlers[VECTOR] = on_pv_irq;
	for (i = 104; i <= 120; i++) {
		wrmsr(X2(APIC_SELF), VECTOR);
		GUEST_ASSERT_EQ(irqs, i);
	}
	guest_sync(1);
	guest_done();
}

TEST(pv_eoi)
{
	struct kvm_lapic_state s;
	struct vm *vm;
	int i;

	guest_handlers[VECTOR] = on_pv_irq;
	guest_handlers[LOWER] = on_pv_irq;
	vm = pv_apic_vm(1, guest_pv_eoi);
	*guest_var(vm, &cpu_ends) = on_strata() && !kvm_cap(vm->kvm, KVM_CAP_VAPIC);
	RUN_UNTIL_SYNC(vm->vcpu, 0x100);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s);
	CHECK_EQ(*(u32 *)(s.regs + 0x100 + VECTOR / 32 * 16), 1u << VECTOR % 32);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	/* All of them are over. */
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s);
	for (i = 0; i < 8; i++)
		CHECK_EQ(*(u32 *)(s.regs + 0x100 + i * 16), 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void on_nmi(struct guest_frame *frame __attribute__((unused)))
{
	__atomic_add_fetch(&nmis, 1, __ATOMIC_SEQ_CST);
}

static void on_ipi(struct guest_frame *frame __attribute__((unused)))
{
	__atomic_add_fetch(&irqs, 1, __ATOMIC_SEQ_CST);
	wrmsr(X2(APIC_EOI), 0);
}

static void guest_pv_ipi(u64 me)
{
	u64 i;

	x2apic_on();
	asm volatile("sti");
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	if (me) {
		while (!done)
			asm volatile("pause");
		guest_done();
	}
	while (ready < 3)
		guest_pause();
	for (i = 1; i <= 50; i++) {
		/* All three by one bitmap, by the upper word, from another base. */
		GUEST_ASSERT_EQ(i % 2 ? pv_call(KVM_HC_SEND_IPI, 7, 0, 0, VECTOR) : pv_call(KVM_HC_SEND_IPI, 3, 0, 1, VECTOR), i % 2 ? 3 : 2);
		while (irqs < i / 2 * 2 + (i + 1) / 2 * 3)
			guest_pause();
		GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 6, 0, 0, 0x400), 2);
		while (nmis < 2 * i)
			guest_pause();
	}
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 0xf0, 1, 0, VECTOR), 0);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 1, 0, 0, 0x800 | VECTOR), -KVM_EINVAL);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 1, 0, 0, 0x40000 | VECTOR), -KVM_EINVAL);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 1, 0, 0, 0x500), -KVM_EINVAL);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SEND_IPI, 1, 0, 0, 5), -KVM_EINVAL);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_SCHED_YIELD, 1, 0, 0, 0), 0);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_VAPIC_POLL_IRQ, 0, 0, 0, 0), 0);
	GUEST_ASSERT_EQ(pv_call(KVM_HC_CLOCK_PAIRING, 0, 0, 0, 0), -KVM_ENOSYS);
	done = 1;
	guest_done();
}

TEST_TIMEOUT(pv_ipi, 180)
{
	pthread_t threads[3];
	struct vm *vm;
	int i;

	guest_handlers[VECTOR] = on_ipi;
	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = pv_apic_vm(3, guest_pv_ipi);
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	vm_destroy(vm);
}
