// SPDX-License-Identifier: GPL-2.0
/*
 * What: the registers of the local APIC in the kernel by MMIO, which some CPUs serve (APICv): what
 * each write does and each read gives, by plain and by other instructions; what of it exits.
 * Conditions: KVM_CAP_IRQCHIP.
 * Expected: the same whoever serves an access; where the CPU does, frequent ones do not exit.
 */
#include "xapic.h"

#define TIMER		0x61
#define PERIODIC	(1 << 17)
#define MASKED		(1 << 16)

static volatile u64 timers;

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	timers++;
	*reg(APIC_EOI) = 0;
}

static struct vm *access_vm(unsigned int nr, void *fn)
{
	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[APIC_VECTOR] = on_apic_irq;
	guest_handlers[TIMER] = on_timer;
	return pv_apic_vm(nr, fn);
}

/* ---- what accesses do ---- */

static void guest_uses_registers(void)
{
	u32 val;

	GUEST_ASSERT_EQ(*reg(APIC_ID), 0);
	GUEST_ASSERT_EQ(*reg(VERSION) & 0xff, 0x14);
	GUEST_ASSERT_EQ(*reg(APIC_SVR), 0xff);
	/* Reserved bits do not stick, and while the APIC is disabled no entry can be unmasked. */
	*reg(LINT1) = 0xffffffff;
	GUEST_ASSERT_EQ(*reg(LINT1), 0x1a7ff);
	*reg(LINT1) = 0x400;
	GUEST_ASSERT_EQ(*reg(LINT1), 0x10400);
	*reg(APIC_SVR) = 0xfffffdff;
	GUEST_ASSERT_EQ(*reg(APIC_SVR) & 0xfff, 0x1ff);
	*reg(LINT1) = 0x400;
	GUEST_ASSERT_EQ(*reg(LINT1), 0x400);
	*reg(LDR) = 0x01ffffff;
	GUEST_ASSERT_EQ(*reg(LDR), 0x01000000);
	*reg(DFR) = 0x0fffffff;
	GUEST_ASSERT_EQ(*reg(DFR), 0x0fffffff);
	*reg(DFR) = 0xf0000000;
	GUEST_ASSERT_EQ(*reg(DFR), 0xffffffff);
	*reg(ICR2) = 0x12000000;
	GUEST_ASSERT_EQ(*reg(ICR2), 0x12000000);
	/* Writes of read-only registers do nothing. */
	*reg(VERSION) = 0;
	GUEST_ASSERT_EQ(*reg(VERSION) & 0xff, 0x14);
	*reg(IRR + 0x20) = 0xff;
	GUEST_ASSERT_EQ(*reg(IRR + 0x20), 0);
	*reg(ISR + 0x20) = 0xff;
	GUEST_ASSERT_EQ(*reg(ISR + 0x20), 0);
	/* A register that is not there is an error, shown by the ESR once it was written. */
	*reg(ESR) = 0;
	val = *reg(0x40);
	GUEST_ASSERT_EQ(*reg(ESR), 0);
	*reg(ESR) = 0xff;
	GUEST_ASSERT_EQ(*reg(ESR), 0x80);
	*reg(ESR) = 0;
	GUEST_ASSERT_EQ(*reg(ESR), 0);
	/* Other instructions: all are loads and stores of 32 bits. */
	*reg(APIC_TPR) = 0x13;
	val = 0x24;
	asm volatile("xchgl %0, %1" : "+r"(val), "+m"(*reg(APIC_TPR)));
	GUEST_ASSERT_EQ(val, 0x13);
	asm volatile("orl $0x40, %0" : "+m"(*reg(APIC_TPR)));
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x64);
	GUEST_ASSERT_EQ(*reg(PPR), 0x64);
	GUEST_ASSERT_EQ(*(volatile u8 *)reg(APIC_TPR), 0x64);
	/* One that is wider has no effect. */
	*(volatile u64 *)reg(APIC_TPR) = 0x10;
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x64);
	GUEST_ASSERT_EQ(read_cr8(), 6);
	*reg(APIC_TPR) = 0;
	guest_done();
}

TEST(registers)
{
	struct vm *vm = access_vm(1, guest_uses_registers);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_interrupts_itself(void)
{
	*reg(APIC_SVR) = 0x1ff;
	*reg(APIC_TPR) = 0x50;
	guest_sti();
	*reg(APIC_ICR) = 0x40000 | APIC_VECTOR;
	GUEST_ASSERT_EQ(*reg(APIC_ICR), 0x40000 | APIC_VECTOR);
	GUEST_ASSERT_EQ(apic_irqs, 0);
	GUEST_ASSERT_EQ(*reg(IRR + 0x20), 1 << (APIC_VECTOR - 64));
	guest_sync(1);
	*reg(APIC_TPR) = 0x4f;
	GUEST_ASSERT_EQ(apic_irqs, 1);
	GUEST_ASSERT_EQ(*reg(IRR + 0x20), 0);
	/* By its ID, and with CR8 in between */
	*reg(ICR2) = 0;
	write_cr8(6);
	*reg(APIC_ICR) = APIC_VECTOR;
	GUEST_ASSERT_EQ(apic_irqs, 1);
	write_cr8(0);
	GUEST_ASSERT_EQ(apic_irqs, 2);
	/* A vector that no interrupt has */
	*reg(LVT_ERROR) = APIC_VECTOR;
	*reg(APIC_ICR) = 0x40005;
	GUEST_ASSERT_EQ(apic_irqs, 3);
	*reg(ESR) = 0;
	GUEST_ASSERT_EQ(*reg(ESR) & 0x20, 0x20);
	guest_done();
}

TEST(interrupts_itself)
{
	struct vm *vm = access_vm(1, guest_interrupts_itself);
	struct kvm_lapic_state s;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s);
	CHECK_EQ(*(u32 *)(s.regs + APIC_TPR), 0x50);
	CHECK_EQ(*(u32 *)(s.regs + APIC_EOI), 0);
	CHECK_EQ(*(u32 *)(s.regs + IRR + 0x20), 1u << (APIC_VECTOR - 64));
	xioctl(vm->vcpu->fd, KVM_SET_LAPIC, &s);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void wait_timers(u64 n)
{
	while (timers < n)
		;
}

/* Each write of these must know what was there before. */
static void guest_uses_timer(void)
{
	u32 first;

	*reg(APIC_SVR) = 0x1ff;
	guest_sti();
	*reg(TDCR) = 0xb;
	*reg(APIC_LVTT) = TIMER;
	*reg(TMICT) = 100000;
	wait_timers(1);
	GUEST_ASSERT_EQ(*reg(TMCCT), 0);
	/* A long one, which does not get far in this test. */
	*reg(TDCR) = 9;
	*reg(TMICT) = 0xffffffff;
	first = *reg(TMCCT);
	GUEST_ASSERT(first > 0xf0000000 && *reg(TMCCT) <= first);
	/* Twice as slow, and the count goes on. */
	*reg(TDCR) = 0xa;
	GUEST_ASSERT_EQ(*reg(TDCR), 0xa);
	GUEST_ASSERT(*reg(TMCCT) <= first && *reg(TMCCT) > 0xf0000000);
	*reg(APIC_LVTT) = PERIODIC | TIMER;
	GUEST_ASSERT(*reg(TMCCT) <= first && *reg(TMCCT) > 0xf0000000);
	GUEST_ASSERT_EQ(*reg(TMICT), 0xffffffff);
	*reg(TMICT) = 5000;
	wait_timers(4);
	*reg(APIC_LVTT) = PERIODIC | MASKED | TIMER;
	first = timers;
	*reg(TMICT) = 0;
	GUEST_ASSERT_EQ(*reg(TMCCT), 0);
	GUEST_ASSERT_EQ(timers, first);
	/* Disabled by software, all are masked. */
	*reg(APIC_LVTT) = TIMER;
	*reg(APIC_SVR) = 0xff;
	GUEST_ASSERT_EQ(*reg(APIC_LVTT), MASKED | TIMER);
	guest_done();
}

TEST(timer)
{
	struct vm *vm = access_vm(1, guest_uses_timer);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- what exits ---- */

static void guest_is_counted(void)
{
	*reg(APIC_SVR) = 0x1ff;
	guest_sti();
	guest_sync(1);
	apic_frequent();
	guest_sync(2);
	guest_done();
}

TEST(frequent_ones)
{
	struct vm *vm = access_vm(1, guest_is_counted);
	u64 before;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	before = vcpu_exits(vm->vcpu);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	apic_judge_exits(vm->vcpu, vcpu_exits(vm->vcpu) - before, "xAPIC");
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
