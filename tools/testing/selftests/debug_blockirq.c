// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_GUESTDBG_BLOCKIRQ, with which a debugger keeps interrupts from a guest that it steps:
 * IPIs of the guest to itself, by MMIO and by MSR, which some CPUs deliver by themselves, and an
 * MSI.
 * Conditions: KVM_CAP_IRQCHIP, KVM_CAP_SET_GUEST_DEBUG2 with that bit.
 * Expected: none comes while it is set; all that were held back come when it is not.
 */
#include "xapic.h"

static volatile u64 x2apic;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	apic_irqs++;
	if (x2apic)
		wrmsr(X2(APIC_EOI), 0);
	else
		*reg(APIC_EOI) = 0;
}

static void guest_is_debugged(void)
{
	u64 i;

	*reg(APIC_SVR) = 0x1ff;
	guest_sti();
	for (i = 0; i < 20; i++) {
		GUEST_ASSERT_EQ(apic_irqs, 2 * i);
		guest_sync(1);
		if (x2apic)
			wrmsr(X2(APIC_SELF), APIC_VECTOR);
		else
			*reg(APIC_ICR) = 0x40000 | APIC_VECTOR;
		asm volatile("nop");
		GUEST_ASSERT_EQ(apic_irqs, 2 * i);
		guest_sync(2);
		GUEST_ASSERT_EQ(apic_irqs, 2 * i);
		guest_sync(3);
		asm volatile("nop");
		GUEST_ASSERT_EQ(apic_irqs, 2 * i + 2);
		if (i != 9)
			continue;
		x2apic_on();
		x2apic = 1;
	}
	guest_done();
}

static void block(struct vcpu *vcpu, bool on)
{
	struct kvm_guest_debug debug = { .control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ : 0 };

	xioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
}

TEST(interrupts_wait)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = APIC_VECTOR + 16 };
	struct vcpu *vcpu;
	struct vm *vm;
	int i;

	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[APIC_VECTOR] = on_irq;
	guest_handlers[APIC_VECTOR + 16] = on_irq;
	vm = pv_apic_vm(1, guest_is_debugged);
	if (!(kvm_cap(vm->kvm, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ))
		tap_skip("no KVM_GUESTDBG_BLOCKIRQ");
	vcpu = vm->vcpu;
	for (i = 0; i < 20; i++) {
		RUN_UNTIL_SYNC(vcpu, 1);
		block(vcpu, true);
		RUN_UNTIL_SYNC(vcpu, 2);
		CHECK_EQ(xioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
		RUN_UNTIL_SYNC(vcpu, 3);
		block(vcpu, false);
	}
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
