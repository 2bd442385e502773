// SPDX-License-Identifier: GPL-2.0
/*
 * What: the page of the local APIC's registers, which CPUs that serve it have mapped for all vCPUs
 * of a VM: while one is in x2APIC mode, has its APIC off or elsewhere, and back again; a memory
 * slot in its place.
 * Conditions: KVM_CAP_IRQCHIP.
 * Expected: each vCPU finds there what its own mode says; one that stays in xAPIC mode notices
 * nothing, and in the end all is as fast as before.
 */
#include <string.h>

#include "xapic.h"

#define ELSEWHERE	0xfed00000ull

static struct vm *access_vm(unsigned int nr, void *fn)
{
	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[APIC_VECTOR] = on_apic_irq;
	return pv_apic_vm(nr, fn);
}

/* vCPU 0 stays as it is and uses its registers whenever the other has done something. */
static void guest_stays(void)
{
	u64 i;

	*reg(APIC_SVR) = 0x1ff;
	guest_sti();
	for (i = 1; ; i++) {
		apic_frequent();
		*reg(APIC_TPR) = 0x20;
		guest_sync(i);
		GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x20);
	}
}

static void set_base(u64 base, u32 bits)
{
	wrmsr(MSR_APIC_BASE, base | bits);
}

static void guest_changes(void)
{
	u32 val;

	GUEST_ASSERT_EQ(*reg(APIC_ID), 1 << 24);
	*reg(APIC_SVR) = 0x1ff;
	*reg(APIC_TPR) = 0x30;
	guest_sync(1);
	/* x2APIC: what was there is an empty page. */
	set_base(APIC, 0xc00);
	GUEST_ASSERT_EQ(rdmsr(X2(APIC_TPR)), 0x30);
	GUEST_ASSERT_EQ(rdmsr(X2(APIC_ID)), 1);
	GUEST_ASSERT_EQ(rdmsr(X2(APIC_SVR)), 0x1ff);
	GUEST_ASSERT_EQ(rdmsr(X2(VERSION)) & 0xff, 0x14);
	GUEST_ASSERT_EQ(rdmsr(X2(LDR)), 2);
	GUEST_ASSERT_EQ(rdmsr(X2(PPR)), 0x30);
	*reg(APIC_TPR) = 0x70;
	GUEST_ASSERT_EQ(rdmsr(X2(APIC_TPR)), 0x30);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0xffffffff);
	guest_sync(2);
	/* Off: userspace has the page. */
	set_base(APIC, 0);
	val = *reg(APIC_TPR);
	GUEST_ASSERT_EQ(val, 0x12345678);
	/* On again, as after a reset */
	set_base(APIC, 0x800);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0);
	GUEST_ASSERT_EQ(*reg(APIC_SVR), 0xff);
	*reg(APIC_TPR) = 0x40;
	guest_sync(3);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x40);
	set_base(ELSEWHERE, 0x800);
	GUEST_ASSERT_EQ(*apic_at(ELSEWHERE, APIC_TPR), 0x40);
	val = *reg(APIC_TPR);
	GUEST_ASSERT_EQ(val, 0x12345678);
	guest_sync(4);
	set_base(APIC, 0x800);
	*reg(APIC_TPR) = 0x50;
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x50);
	guest_done();
}

static void answer_read(struct vcpu *vcpu)
{
	u32 val = 0x12345678;

	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, APIC + APIC_TPR);
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	memcpy(vcpu->run->mmio.data, &val, sizeof(val));
}

TEST(modes)
{
	struct vm *vm = access_vm(2, guest_stays);
	struct vcpu *other = vm->vcpu + 1;
	u64 before;
	u64 i;

	vcpu_set_long(other, guest_changes, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	for (i = 1; i <= 4; i++) {
		if (i == 3 || i == 4)
			answer_read(other);
		RUN_UNTIL_SYNC(other, i);
		RUN_UNTIL_SYNC(vm->vcpu, i + 1);
	}
	RUN_UNTIL_DONE(other);
	before = vcpu_exits(vm->vcpu);
	RUN_UNTIL_SYNC(vm->vcpu, 6);
	apic_judge_exits(vm->vcpu, vcpu_exits(vm->vcpu) - before, "after all changes");
	vm_destroy(vm);
}

/* ---- a slot ---- */

static void guest_sees_slot(void)
{
	*reg(APIC_SVR) = 0x1ff;
	*reg(APIC_TPR) = 0x30;
	guest_sync(1);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0xabcdef01);
	*reg(APIC_TPR) = 0x11111111;
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x11111111);
	GUEST_ASSERT_EQ(read_cr8(), 3);
	guest_sync(2);
	GUEST_ASSERT_EQ(*reg(APIC_TPR), 0x30);
	guest_done();
}

TEST(slot_in_its_place)
{
	struct vm *vm = access_vm(1, guest_sees_slot);
	u8 *mem = host_alloc(4096, 4096);

	*(u32 *)(mem + APIC_TPR) = 0xabcdef01;
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(vm_set_slot(vm, 1, 0, APIC, 4096, mem), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(*(u32 *)(mem + APIC_TPR), 0x11111111);
	CHECK_EQ(vm_set_slot(vm, 1, 0, APIC, 0, mem), 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
