// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_HC_KICK_CPU against HLT with interrupts off: many rounds, a kick before the HLT, and
 * one that is saved and restored.
 * Conditions: KVM_CREATE_IRQCHIP; the last case STRATA_CAP_EVENTS.
 * Expected: a HLT that a kick is meant for ends; one kick ends one HLT.
 */
#include <pthread.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"

#include "pv.h"

#define ROUNDS 200

static volatile u64 turn;

/*
 * Nobody but the other one ends the HLT. The turn changes before the kick, which comes before or
 * after the HLT began.
 */
static void guest_kicks(u64 me)
{
	u64 i;

	asm volatile("cli");
	for (i = 0; i < ROUNDS; i++) {
		while ((turn & 1) != me)
			asm volatile("hlt");
		turn++;
		GUEST_ASSERT_EQ(pv_call(KVM_HC_KICK_CPU, 0, me ^ 1, 0, 0), 0);
	}
	guest_done();
}

TEST_TIMEOUT(kicks_end_hlt, 120)
{
	struct vm *vm = pv_apic_vm(2, guest_kicks);
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(*guest_var(vm, &turn), 2 * ROUNDS);
	vm_destroy(vm);
}

static void guest_kicked_before(void)
{
	asm volatile("cli");
	GUEST_ASSERT_EQ(pv_call(KVM_HC_KICK_CPU, 0, 0, 0, 0), 0);
	guest_sync(1);
	asm volatile("hlt");
	guest_done();
}

TEST(kick_before_hlt)
{
	struct vm *vm = pv_apic_vm(1, guest_kicked_before);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static struct vm *strata_vm(void *fn)
{
	struct kvm_enable_cap cap = { .cap = STRATA_CAP_EVENTS };
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm = vm_create(0);

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	xioctl(vm->vcpu->fd, KVM_SET_MP_STATE, &run);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

TEST(kick_is_state)
{
	struct kvm_vcpu_events events, again;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct vm *a, *b;

	STRATA_ONLY("a kick rides in struct strata_events");
	a = strata_vm(guest_kicked_before);
	RUN_UNTIL_SYNC(a->vcpu, 1);
	xioctl(a->vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	CHECK_EQ(((struct strata_events *)events.reserved)->flags, STRATA_EVENTS_VALID | STRATA_EVENTS_KICKED);
	xioctl(a->vcpu->fd, KVM_GET_VCPU_EVENTS, &again);
	CHECK(!memcmp(&events, &again, sizeof(events)));

	b = strata_vm(guest_kicked_before);
	memcpy(b->mem, a->mem, SLOT0_SIZE);
	xioctl(a->vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(a->vcpu->fd, KVM_GET_SREGS, &sregs);
	xioctl(b->vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	xioctl(b->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(b->vcpu->fd, KVM_SET_SREGS, &sregs);
	RUN_UNTIL_DONE(b->vcpu);
	xioctl(b->vcpu->fd, KVM_GET_VCPU_EVENTS, &again);
	CHECK_EQ(((struct strata_events *)again.reserved)->flags, STRATA_EVENTS_VALID);
	vm_destroy(a);
	vm_destroy(b);
}
