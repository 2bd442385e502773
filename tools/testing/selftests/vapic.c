// SPDX-License-Identifier: GPL-2.0
/*
 * What: TPR of the local APIC in the kernel for guests that are patched to keep it in memory:
 * KVM_TPR_ACCESS_REPORTING, KVM_SET_VAPIC_ADDR.
 * Conditions: KVM_CAP_IRQCHIP; for reports KVM_CAP_VAPIC, as they are of no use where the CPU
 * serves TPR.
 * Expected: an access by MMIO is done and then reported with the address of its instruction. The
 * word in memory shows TPR, the class in service and the highest requested vector; a TPR written
 * there holds interrupts back and lets them go like the register, and getters know it.
 */
#include <errno.h>
#include <string.h>

#include "pv.h"

#define APIC	0xfee00000ull
#define WORD	(GPA_HEAP + 0x84)
#define HOLE	0x30000000ull
#define VECTOR	0x51

static volatile u64 irqs, class_seen;

static volatile u32 *reg(u32 offset)
{
	return (u32 *)(APIC + offset);
}

static volatile u8 *word(unsigned int byte)
{
	return (u8 *)WORD + byte;
}

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	class_seen = *word(1);
	*reg(APIC_EOI) = 0;
}

extern const char tpr_write[], tpr_read[];

static void guest_touches_tpr(void)
{
	u32 val = 0x20;

	guest_sync(1);
	asm volatile("tpr_write: mov %1, (%0)" : : "r"(reg(APIC_TPR)), "r"(val) : "memory");
	asm volatile("tpr_read: mov (%1), %0" : "=r"(val) : "r"(reg(APIC_TPR)) : "memory");
	GUEST_ASSERT_EQ(val, 0x20);
	/* Neither another register nor CR8 is what is asked for. */
	*reg(APIC_SVR) = 0x1ff;
	write_cr8(3);
	guest_sync(2);
	*reg(APIC_TPR) = 0x10;
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x10);
	guest_done();
}

static struct vm *vapic_vm(void *fn)
{
	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	return pv_apic_vm(1, fn);
}

static void report(struct vm *vm, u32 on)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = on };

	xioctl(vm->vcpu->fd, KVM_TPR_ACCESS_REPORTING, &ctl);
}

static void set_word(struct vm *vm, u64 gpa)
{
	struct kvm_vapic_addr va = { .vapic_addr = gpa };

	xioctl(vm->vcpu->fd, KVM_SET_VAPIC_ADDR, &va);
}

TEST(accesses_are_reported)
{
	struct vm *vm = vapic_vm(guest_touches_tpr);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	NEED_CAP(KVM_CAP_VAPIC);
	RUN_UNTIL_SYNC(vcpu, 1);
	report(vm, 1);
	RUN_UNTIL(vcpu, KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vcpu->run->tpr_access.rip, (u64)tpr_write);
	CHECK_EQ(vcpu->run->tpr_access.is_write, 1);
	/* It is done. */
	CHECK_EQ(vcpu->run->cr8, 2);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK(regs.rip > (u64)tpr_write);
	RUN_UNTIL(vcpu, KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vcpu->run->tpr_access.rip, (u64)tpr_read);
	CHECK_EQ(vcpu->run->tpr_access.is_write, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	report(vm, 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_uses_word(void)
{
	*reg(APIC_SVR) = 0x1ff;
	*reg(APIC_TPR) = 0x30;
	GUEST_ASSERT_EQ(*word(0), 0x30);
	guest_sti();
	/* Held back by what memory says; no register was written. */
	*word(0) = 0x60;
	*reg(APIC_ICR) = 0x40000 | VECTOR;
	GUEST_ASSERT_EQ(irqs, 0);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x60);
	GUEST_ASSERT_EQ(*word(3), VECTOR);
	GUEST_ASSERT_EQ(*word(1), 0);
	guest_sync(1);
	/* Let go: the next exit delivers it. */
	*word(0) = 0;
	GUEST_ASSERT_EQ(pv_call(KVM_HC_VAPIC_POLL_IRQ, 0, 0, 0, 0), 0);
	GUEST_ASSERT_EQ(irqs, 1);
	GUEST_ASSERT_EQ(class_seen, VECTOR & 0xf0);
	GUEST_ASSERT_EQ(*word(1), 0);
	GUEST_ASSERT_EQ(*word(3), 0);
	guest_sync(2);
	/* Userspace set another. */
	GUEST_ASSERT_EQ(*word(0), 0x90);
	GUEST_ASSERT_EQ(read_cr8(), 9);
	guest_sync(3);
	/* Off: memory is memory. */
	*word(0) = 0xf0;
	*reg(APIC_ICR) = 0x40000 | VECTOR;
	GUEST_ASSERT_EQ(irqs, 1);
	*reg(APIC_TPR) = 0;
	GUEST_ASSERT_EQ(irqs, 2);
	GUEST_ASSERT_EQ(*word(0), 0xf0);
	guest_done();
}

TEST(word_in_memory)
{
	struct vm *vm = vapic_vm(guest_uses_word);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;

	set_word(vm, WORD);
	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);
	CHECK_EQ(*(u32 *)(lapic.regs + APIC_TPR), 0x60);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cr8, 6);
	RUN_UNTIL_SYNC(vcpu, 2);
	sregs.cr8 = 9;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	RUN_UNTIL_SYNC(vcpu, 3);
	set_word(vm, 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_without_memory(void)
{
	*reg(APIC_SVR) = 0x1ff;
	guest_sti();
	*reg(APIC_TPR) = 0x60;
	*reg(APIC_ICR) = 0x40000 | VECTOR;
	GUEST_ASSERT_EQ(irqs, 0);
	write_cr8(0);
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

/* An address without memory is a word that nobody sees. */
TEST(no_memory_there)
{
	struct vm *vm = vapic_vm(guest_without_memory);

	set_word(vm, HOLE);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

#define EDGE	0x20000000ull
#define LOWER	0x41

static void guest_has_two(void)
{
	*reg(APIC_SVR) = 0x1ff;
	*reg(APIC_ICR) = 0x40000 | VECTOR;
	*reg(APIC_ICR) = 0x40000 | LOWER;
	asm volatile("sti; nop; nop; nop");
	GUEST_ASSERT_EQ(irqs, 2);
	guest_done();
}

/* A word that begins in a slot's last bytes: behind them is memory of the VMM's own. */
TEST(word_across_the_end)
{
	u8 *mem = host_alloc(8192, 4096);
	struct vm *vm;

	guest_handlers[LOWER] = on_irq;
	vm = vapic_vm(guest_has_two);
	CHECK_EQ(vm_set_slot(vm, 1, 0, EDGE, 4096, mem), 0);
	set_word(vm, EDGE + 4096 - 2);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(*(u32 *)(mem + 4096), 0);
	vm_destroy(vm);
}

TEST(errors)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = 1 };
	struct kvm_vapic_addr va = { .vapic_addr = WORD };
	struct vm *vm = vm_create_bare(1);

	STRATA_ONLY("undocumented errnos");
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_VAPIC_ADDR, &va), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_TPR_ACCESS_REPORTING, &ctl), -EINVAL);
	vm_destroy(vm);
	vm = vapic_vm(guest_without_memory);
	ctl.flags = 1;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_TPR_ACCESS_REPORTING, &ctl), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_TPR_ACCESS_REPORTING, NULL), -EFAULT);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_VAPIC_ADDR, NULL), -EFAULT);
	vm_destroy(vm);
}
