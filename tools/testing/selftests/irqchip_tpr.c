// SPDX-License-Identifier: GPL-2.0
/*
 * What: the task priority with the local APIC in the kernel: CR8, the x2APIC's MSR,
 * KVM_GET/SET_SREGS and KVM_GET/SET_LAPIC are one register; an interrupt held back by it is taken
 * when it falls, whoever lowers it.
 * Conditions: KVM_CAP_IRQCHIP.
 * Expected: for each of the 16 classes an interrupt is taken at once if its class is higher, else
 * with the write that lowers the priority below it; exits in between change nothing.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"

#define X2(reg)		(0x800 + (reg) / 0x10)
#define VECTOR		0x91
#define CLASS		(VECTOR >> 4)

enum { TPR = 0x80, EOI = 0xb0, SVR = 0xf0, SELF = 0x3f0 };

static volatile u64 irqs;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(EOI), 0);
}

static struct vm *tpr_vm(void *fn)
{
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm;

	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	xioctl(vm->vcpu->fd, KVM_SET_MP_STATE, &run);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	asm volatile("sti; nop");
}

/*
 * Lowered by CR8, or by the MSR; to 0, or to the class just below; with another exit in between or
 * not.
 */
static void guest_classes(void)
{
	u64 class, how, expected = 0;
	u32 regs[4];

	x2apic_on();
	for (class = 0; class < 16; class++) {
		for (how = 0; how < 8; how++) {
			u64 low = how & 1 ? CLASS - 1 : 0;

			if (how & 4)
				wrmsr(X2(TPR), class << 4 | 3);
			else
				write_cr8(class);
			GUEST_ASSERT_EQ(read_cr8(), class);
			GUEST_ASSERT_EQ(rdmsr(X2(TPR)) >> 4, class);
			wrmsr(X2(SELF), VECTOR);
			if (class < CLASS)
				expected++;
			GUEST_ASSERT_EQ(irqs, expected);
			if (how & 2)
				cpuid(0, 0, regs);
			if (class > CLASS) {
				write_cr8(CLASS);
				GUEST_ASSERT_EQ(irqs, expected);
			}
			if (class >= CLASS)
				expected++;
			if (how & 4)
				write_cr8(low);
			else
				wrmsr(X2(TPR), low << 4);
			GUEST_ASSERT_EQ(irqs, expected);
		}
	}
	guest_done();
}

TEST(every_class)
{
	struct vm *vm = tpr_vm(guest_classes);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_shows(void)
{
	x2apic_on();
	write_cr8(0xb);
	wrmsr(X2(SELF), VECTOR);
	guest_sync(irqs);
	/* Userspace has set 5. */
	GUEST_ASSERT_EQ(read_cr8(), 5);
	GUEST_ASSERT_EQ(irqs, 1);
	write_cr8(0xc);
	wrmsr(X2(SELF), VECTOR);
	guest_sync(irqs);
	/* 2, by KVM_SET_LAPIC. */
	GUEST_ASSERT_EQ(read_cr8(), 2);
	GUEST_ASSERT_EQ(irqs, 2);
	guest_done();
}

static u32 *lapic_reg(struct kvm_lapic_state *s, u32 reg)
{
	return (u32 *)(s->regs + reg);
}

TEST(userspace_sees_and_sets)
{
	struct vm *vm = tpr_vm(guest_shows);
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &lapic);
	CHECK_EQ(sregs.cr8, 0xb);
	CHECK_EQ(vm->vcpu->run->cr8, 0xb);
	CHECK_EQ(*lapic_reg(&lapic, TPR), 0xb0);
	sregs.cr8 = 5;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &lapic);
	CHECK_EQ(*lapic_reg(&lapic, TPR), 0xc0);
	*lapic_reg(&lapic, TPR) = 0x20;
	xioctl(vm->vcpu->fd, KVM_SET_LAPIC, &lapic);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cr8, 2);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
