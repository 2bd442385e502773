// SPDX-License-Identifier: GPL-2.0
/*
 * What: the contract of interrupt windows (window_contract) with a local APIC in the kernel: its
 * interrupt behind a window request, where no ExtINT can get in, and with all controllers in the
 * kernel.
 * Conditions: KVM_CAP_SPLIT_IRQCHIP, KVM_CREATE_IRQCHIP.
 * Expected: what each case's comment says.
 */
#include <errno.h>

#include "cpu.h"
#include "state.h"

#define VECTOR	0x41
#define LAPIC_VECTOR 0x51
#define X2(reg)	(0x800 + (reg) / 16)

enum { EOI = 0xb0, SVR = 0xf0, LINT0 = 0x350, SELF = 0x3f0 };

static volatile u64 irqs, lapic_irqs;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
}

static void on_lapic(struct guest_frame *frame __attribute__((unused)))
{
	lapic_irqs++;
	wrmsr(X2(EOI), 0);
}

static int interrupt(struct vcpu *vcpu)
{
	struct kvm_interrupt irq = { .irq = VECTOR };

	return kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

static void guest_split(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	wrmsr(X2(LINT0), 0x700);
	guest_sync(1);
	wrmsr(X2(SELF), LAPIC_VECTOR);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(lapic_irqs, 1);
	guest_sync(2);
	wrmsr(X2(SELF), LAPIC_VECTOR);
	asm volatile("sti; nop; nop; cli");
	guest_sync(3);
	GUEST_ASSERT_EQ(lapic_irqs, 2);
	GUEST_ASSERT_EQ(irqs, 1);
	/* No ExtINT gets in any more. */
	wrmsr(X2(LINT0), 0x10700);
	guest_sync(4);
	wrmsr(X2(SELF), LAPIC_VECTOR);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(lapic_irqs, 3);
	guest_done();
}

/*
 * One window exit, then the local APIC's interrupt; where no ExtINT can get in there is no window,
 * and the vCPU goes on.
 */
TEST(apic_behind_a_window)
{
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_SPLIT_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	guest_handlers[LAPIC_VECTOR] = on_lapic;
	vm = vm_create_with(&(struct vm_config) { .nr_vcpus = 1, .irqchip = CHIP_SPLIT }, NULL);
	vcpu = vm->vcpu;
	vcpu_set_long(vcpu, guest_split, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(*guest_var(vm, &lapic_irqs), 0);
	vcpu->run->request_interrupt_window = 0;
	RUN_UNTIL_SYNC(vcpu, 2);
	/* With an ExtINT given at the window, both. */
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(interrupt(vcpu), 0);
	vcpu->run->request_interrupt_window = 0;
	RUN_UNTIL_SYNC(vcpu, 3);
	RUN_UNTIL_SYNC(vcpu, 4);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_closed(void)
{
	guest_sync(1);
	asm volatile("sti; nop; nop; cli");
	guest_sync(2);
	guest_done();
}

/*
 * With all controllers in the kernel nobody has to wait: the flag is set whatever IF is, and there
 * are no windows.
 */
TEST(controllers_of_the_kernel)
{
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_IRQCHIP);
	vm = vm_create_with(&(struct vm_config) { .nr_vcpus = 1, .irqchip = CHIP_FULL }, NULL);
	vcpu = vm->vcpu;
	vcpu_set_long(vcpu, guest_closed, 0);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->if_flag, 0);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(interrupt(vcpu), -ENXIO);
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
