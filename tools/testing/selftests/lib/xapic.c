// SPDX-License-Identifier: GPL-2.0
#include "xapic.h"

#include <unistd.h>

#include "stats.h"

volatile u64 apic_irqs;

void on_apic_irq(struct guest_frame *frame __attribute__((unused)))
{
	apic_irqs++;
	*reg(APIC_EOI) = 0;
}

void apic_frequent(void)
{
	u64 i, before = apic_irqs;

	for (i = 0; i < APIC_ROUNDS; i++) {
		*reg(APIC_TPR) = 0x60;
		*reg(APIC_ICR) = 0x40000 | APIC_VECTOR;
		GUEST_ASSERT_EQ(apic_irqs, before + i);
		GUEST_ASSERT_EQ(*reg(IRR + 0x20), 1 << (APIC_VECTOR - 64));
		*reg(APIC_TPR) = 0;
		GUEST_ASSERT_EQ(apic_irqs, before + i + 1);
		GUEST_ASSERT_EQ(*reg(APIC_SVR), 0x1ff);
	}
}

u64 vcpu_exits(struct vcpu *vcpu)
{
	int fd = xioctl(vcpu->fd, KVM_GET_STATS_FD, 0);
	u64 n = stat_value(fd, "exits");

	close(fd);
	return n;
}

/*
 * KVM_CAP_VAPIC, the help for guests whose TPR costs exits, is not offered where the CPU serves it.
 */
void apic_judge_exits(struct vcpu *vcpu, u64 exits, const char *when)
{
	tap_note("%s: %llu exits", when, (unsigned long long)exits);
	if (!on_strata())
		return;
	if (kvm_cap(vcpu->vm->kvm, KVM_CAP_VAPIC))
		CHECK(exits >= 5 * APIC_ROUNDS);
	else
		CHECK(exits < APIC_ROUNDS);
}
