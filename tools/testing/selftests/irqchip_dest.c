// SPDX-License-Identifier: GPL-2.0
/*
 * What: whom an interrupt reaches: physical, flat and cluster destinations, x2APIC IDs and
 * KVM_CAP_X2APIC_API, lowest priority, the boot processor of KVM_SET_BOOT_CPU_ID; and EOIs that are
 * not broadcast.
 * Conditions: KVM_CREATE_IRQCHIP. But for the EOI's no vCPU runs: a message shows in KVM_GET_LAPIC
 * at once.
 * Expected: exactly those that the manuals' tables name; documented errnos.
 */
#include <errno.h>
#include <string.h>

#include "pv.h"

#define NR	3
#define VECTOR	0x51
#define PHYSICAL 0
#define LOGICAL	(1 << 2)
#define LOWEST	(1 << 8)

enum { PPR = 0xa0, LDR = 0xd0, DFR = 0xe0, IRR = 0x200 };

static u32 *reg(struct kvm_lapic_state *s, u32 offset)
{
	return (u32 *)(s->regs + offset);
}

static struct vm *dest_vm(void)
{
	struct vm *vm = vm_create_bare(0);
	u32 i;

	NEED_CAP(KVM_CAP_IRQCHIP);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < NR; i++) {
		vcpu_create(vm, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	}
	return vm;
}

/* Switched on, with these names and this priority, and with nothing pending. */
static void set_apic(struct vcpu *vcpu, u32 dfr, u32 ldr, u32 tpr)
{
	struct kvm_lapic_state s;

	xioctl(vcpu->fd, KVM_GET_LAPIC, &s);
	memset(reg(&s, IRR), 0, 0x80);
	*reg(&s, APIC_SVR) = 0x1ff;
	*reg(&s, DFR) = dfr;
	*reg(&s, LDR) = ldr;
	*reg(&s, APIC_TPR) = tpr;
	xioctl(vcpu->fd, KVM_SET_LAPIC, &s);
}

/* Who got the vector of a message; it is taken back. The ioctl's answer says how many. */
static u32 takers_of(struct vm *vm, u32 dest, u32 how, u32 mode)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | (dest & 0xff) << 12 | how, .address_hi = dest & ~0xffu,
			       .data = VECTOR | mode };
	int ret = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	u32 i, mask = 0;

	for (i = 0; i < NR; i++) {
		struct kvm_lapic_state s;

		xioctl(vm->vcpu[i].fd, KVM_GET_LAPIC, &s);
		if (!(*reg(&s, IRR + VECTOR / 32 * 16) & 1u << VECTOR % 32))
			continue;
		mask |= 1 << i;
		memset(reg(&s, IRR), 0, 0x80);
		xioctl(vm->vcpu[i].fd, KVM_SET_LAPIC, &s);
	}
	CHECK_EQ(ret, __builtin_popcount(mask));
	return mask;
}

TEST(physical)
{
	struct vm *vm = dest_vm();
	u32 i;

	for (i = 0; i < NR; i++)
		set_apic(&vm->vcpu[i], ~0u, 1u << (24 + i), 0);
	for (i = 0; i < NR; i++)
		CHECK_EQ(takers_of(vm, i, PHYSICAL, 0), 1 << i);
	CHECK_EQ(takers_of(vm, NR, PHYSICAL, 0), 0);
	CHECK_EQ(takers_of(vm, 0xff, PHYSICAL, 0), 7);
	vm_destroy(vm);
}

TEST(flat_and_cluster)
{
	struct vm *vm = dest_vm();
	u32 i;

	for (i = 0; i < NR; i++)
		set_apic(&vm->vcpu[i], ~0u, 1u << (24 + i), 0);
	for (i = 0; i < 8; i++)
		CHECK_EQ(takers_of(vm, i, LOGICAL, 0), i & 7);
	CHECK_EQ(takers_of(vm, 0xf8, LOGICAL, 0), 0);
	CHECK_EQ(takers_of(vm, 0xff, LOGICAL, 0), 7);
	/* Processors 0 and 1 in cluster 1, 2 in cluster 2 */
	set_apic(&vm->vcpu[0], 0x0fffffff, 0x11000000, 0);
	set_apic(&vm->vcpu[1], 0x0fffffff, 0x12000000, 0);
	set_apic(&vm->vcpu[2], 0x0fffffff, 0x21000000, 0);
	CHECK_EQ(takers_of(vm, 0x11, LOGICAL, 0), 1);
	CHECK_EQ(takers_of(vm, 0x13, LOGICAL, 0), 3);
	CHECK_EQ(takers_of(vm, 0x21, LOGICAL, 0), 4);
	CHECK_EQ(takers_of(vm, 0x22, LOGICAL, 0), 0);
	CHECK_EQ(takers_of(vm, 0x31, LOGICAL, 0), 0);
	CHECK_EQ(takers_of(vm, 0xff, LOGICAL, 0), 7);
	vm_destroy(vm);
}

TEST(lowest_priority)
{
	static const u32 tpr[][NR] = { { 0x80, 0x20, 0x40 }, { 0x80, 0x90, 0x40 }, { 0x10, 0x90, 0x40 } };
	static const u32 winner[] = { 1, 2, 0 };
	struct vm *vm = dest_vm();
	u32 i, j, mask;

	for (i = 0; i < 3; i++) {
		for (j = 0; j < NR; j++)
			set_apic(&vm->vcpu[j], ~0u, 1u << (24 + j), tpr[i][j]);
		CHECK_EQ(takers_of(vm, 7, LOGICAL, LOWEST), 1 << winner[i]);
		/* Among those that are meant only */
		mask = takers_of(vm, 7 & ~(1 << winner[i]), LOGICAL, LOWEST);
		CHECK(mask && !(mask & (mask - 1)) && !(mask & 1 << winner[i]));
	}
	/* Equals: one of them, and only one. */
	for (j = 0; j < NR; j++)
		set_apic(&vm->vcpu[j], ~0u, 1u << (24 + j), 0);
	mask = takers_of(vm, 7, LOGICAL, LOWEST);
	CHECK(mask && !(mask & (mask - 1)));
	vm_destroy(vm);
}

static void all_x2apic(struct vm *vm)
{
	struct kvm_sregs sregs;
	u32 i;

	for (i = 0; i < NR; i++) {
		xioctl(vm->vcpu[i].fd, KVM_GET_SREGS, &sregs);
		sregs.apic_base |= 3 << 10;
		xioctl(vm->vcpu[i].fd, KVM_SET_SREGS, &sregs);
		set_apic(&vm->vcpu[i], 0, 0, 0);
	}
}

static void enable(struct vm *vm, u64 flags)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X2APIC_API, .args = { flags } };

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

static u32 id_of(struct vcpu *vcpu)
{
	struct kvm_lapic_state s;

	xioctl(vcpu->fd, KVM_GET_LAPIC, &s);
	return *reg(&s, APIC_ID);
}

TEST(x2apic_ids)
{
	struct vm *vm = dest_vm();
	struct kvm_lapic_state s;
	u32 i;

	all_x2apic(vm);
	for (i = 0; i < NR; i++) {
		CHECK_EQ(takers_of(vm, i, PHYSICAL, 0), 1 << i);
		CHECK_EQ(id_of(&vm->vcpu[i]), i << 24);
	}
	/* Cluster 0; the low half names its members. */
	for (i = 0; i < 8; i++)
		CHECK_EQ(takers_of(vm, i, LOGICAL, 0), i);
	/* As xAPICs have it: everybody. */
	CHECK_EQ(takers_of(vm, 0xff, PHYSICAL, 0), 7);

	enable(vm, KVM_X2APIC_API_USE_32BIT_IDS);
	for (i = 0; i < NR; i++)
		CHECK_EQ(id_of(&vm->vcpu[i]), i);
	CHECK_EQ(takers_of(vm, 0x101, PHYSICAL, 0), 0);
	CHECK_EQ(takers_of(vm, ~0u, PHYSICAL, 0), 7);
	CHECK_EQ(takers_of(vm, 0xff, PHYSICAL, 0), 7);
	xioctl(vm->vcpu[1].fd, KVM_GET_LAPIC, &s);
	CHECK_EQ(*reg(&s, LDR), 2);
	*reg(&s, APIC_ID) = 2;
	CHECK_EQ(kvm_ioctl(vm->vcpu[1].fd, KVM_SET_LAPIC, &s), -EINVAL);
	CHECK_EQ(id_of(&vm->vcpu[1]), 1);

	enable(vm, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
	CHECK_EQ(takers_of(vm, 0xff, PHYSICAL, 0), 0);
	CHECK_EQ(takers_of(vm, ~0u, PHYSICAL, 0), 7);
	vm_destroy(vm);
}

TEST(boot_processor)
{
	struct vm *vm = vm_create_bare(0);
	struct kvm_sregs sregs;
	u32 i;

	NEED_CAP(KVM_CAP_SET_BOOT_CPU_ID);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(vm->fd, KVM_SET_BOOT_CPU_ID, 1);
	for (i = 0; i < NR; i++) {
		vcpu_create(vm, i);
		CHECK_EQ(vcpu_mp_state(&vm->vcpu[i]), i == 1 ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED);
		xioctl(vm->vcpu[i].fd, KVM_GET_SREGS, &sregs);
		CHECK_EQ(sregs.apic_base >> 8 & 1, i == 1);
	}
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_BOOT_CPU_ID, 0), -EBUSY);
	vm_destroy(vm);
}

/* ---- EOIs that are not broadcast ---- */

static volatile u64 irqs;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(APIC_EOI), 0);
}

static void guest_suppresses(void)
{
	x2apic_on();
	GUEST_ASSERT(rdmsr(X2(0x30)) & 1 << 24);
	guest_sti();
	guest_sync(0);
	GUEST_ASSERT_EQ(irqs, 1);
	wrmsr(X2(APIC_SVR), 0x11ff);
	GUEST_ASSERT_EQ(rdmsr(X2(APIC_SVR)), 0x11ff);
	guest_sync(1);
	GUEST_ASSERT_EQ(irqs, 2);
	guest_sync(2);
	wrmsr(X2(APIC_SVR), 0x1ff);
	guest_sync(3);
	GUEST_ASSERT_EQ(irqs, 3);
	guest_done();
}

TEST(eoi_broadcast_suppression)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR | 1 << 15 };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[1];
	} r = { .head.nr = 1, .entry[0] = { .gsi = 4, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = VECTOR | 1 << 15 } } };
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_SPLIT_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu = vcpu_create(vm, 0);
	xioctl(vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vcpu, guest_suppresses, 0);
	RUN_UNTIL_SYNC(vcpu, 0);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	RUN_UNTIL(vcpu, KVM_EXIT_IOAPIC_EOI);
	CHECK_EQ(vcpu->run->eoi.vector, VECTOR);
	RUN_UNTIL_SYNC(vcpu, 1);
	/* The guest will tell the IOAPIC itself. */
	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_SYNC(vcpu, 3);
	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	RUN_UNTIL(vcpu, KVM_EXIT_IOAPIC_EOI);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
