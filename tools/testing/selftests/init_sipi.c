// SPDX-License-Identifier: GPL-2.0
/*
 * What: INIT and SIPI: what the getters say while they wait, who goes first, and the same after a
 * move to another vCPU.
 * Conditions: in-kernel interrupt controllers; messages come by KVM_SIGNAL_MSI.
 * Expected: what waits reads as smi.latched_init and as MP_STATE SIPI_RECEIVED with sipi_vector,
 * INIT first if both; getters settle nothing; KVM_RUN does.
 */
#include <string.h>

#include "smm.h"
#include "state.h"

#define MSG_INIT	(5 << 8 | 1 << 14)
#define MSG_SIPI	(6 << 8 | 1 << 14)
#define VECTOR		(GPA_PAYLOAD >> 12)

static struct vm *two_cpus(void)
{
	struct vm *vm;

	STRATA_ONLY("getters settle nothing, messages reach APICs that are not enabled yet");
	vm = vm_create_with(&(struct vm_config) { .nr_vcpus = 2, .irqchip = CHIP_FULL }, NULL);
	vm_load_payload(vm, 0, payload_loop, payload_loop_end);
	return vm;
}

static void send(struct vm *vm, u32 dest, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
}

/* A second processor that runs the loop in long mode. */
static struct vm *running(void)
{
	struct vm *vm = two_cpus();
	struct vcpu *vcpu = &vm->vcpu[1];

	vcpu_set_long(vcpu, (void *)GPA_PAYLOAD, 0);
	vcpu_set_mp_state(vcpu, KVM_MP_STATE_RUNNABLE);
	RUN_UNTIL_LOOP(vcpu);
	return vm;
}

static void get_twice(struct vcpu *vcpu, struct smm_state *s)
{
	struct smm_state again;

	smm_get_state(vcpu, s);
	smm_get_state(vcpu, &again);
	CHECK_EQ(memcmp(s, &again, sizeof(again)), 0);
}

/* The same state in the second processor of another VM; a getter there says the same. */
static struct vm *moved(struct vcpu *vcpu, bool mp_first)
{
	struct vm *vm = two_cpus();
	struct smm_state s, now;

	get_twice(vcpu, &s);
	if (mp_first)
		vcpu_set_mp_state(&vm->vcpu[1], s.mp.mp_state);
	smm_set_state(&vm->vcpu[1], &s);
	if (mp_first)
		xioctl(vm->vcpu[1].fd, KVM_SET_VCPU_EVENTS, &s.events);
	smm_get_state(&vm->vcpu[1], &now);
	CHECK_EQ(memcmp(&s.events, &now.events, sizeof(s.events)), 0);
	CHECK_EQ(now.mp.mp_state, s.mp.mp_state);
	return vm;
}

static void expect_init(struct vcpu *vcpu)
{
	struct smm_state s;

	vcpu_run_briefly(vcpu);
	get_twice(vcpu, &s);
	CHECK_EQ(s.events.smi.latched_init, 0);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_INIT_RECEIVED);
	CHECK_EQ(s.sregs.cs.selector, 0xf000);
	CHECK_EQ(s.sregs.efer, 0);
}

static void expect_started(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	RUN_UNTIL_LOOP(vcpu);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cs.selector, VECTOR << 8);
	CHECK_EQ(sregs.cs.base, VECTOR << 12);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
}

TEST(init_waits_for_the_run)
{
	struct vm *vm = running(), *other;
	struct smm_state s;

	send(vm, 1, MSG_INIT);
	get_twice(&vm->vcpu[1], &s);
	CHECK_EQ(s.events.smi.latched_init, 1);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_RUNNABLE);
	CHECK(s.sregs.efer & EFER_LMA);
	other = moved(&vm->vcpu[1], false);
	expect_init(&other->vcpu[1]);
	expect_init(&vm->vcpu[1]);
	vm_destroy(other);
	vm_destroy(vm);
}

/* Both wait: the INIT first, then the start where the SIPI says, whatever the order of the SETs. */
TEST(init_and_sipi)
{
	struct vm *vm = running(), *other;
	struct smm_state s;
	int order;

	send(vm, 1, MSG_INIT);
	send(vm, 1, MSG_SIPI | VECTOR);
	get_twice(&vm->vcpu[1], &s);
	CHECK_EQ(s.events.smi.latched_init, 1);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_SIPI_RECEIVED);
	CHECK(s.events.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR);
	CHECK_EQ(s.events.sipi_vector, VECTOR);
	for (order = 0; order < 2; order++) {
		other = moved(&vm->vcpu[1], order);
		expect_started(&other->vcpu[1]);
		vm_destroy(other);
	}
	expect_started(&vm->vcpu[1]);
	vm_destroy(vm);
}

/* A newer INIT takes back an older SIPI. */
TEST(init_supersedes_sipi)
{
	struct vm *vm = running();
	struct smm_state s;

	send(vm, 1, MSG_INIT);
	send(vm, 1, MSG_SIPI | VECTOR);
	send(vm, 1, MSG_INIT);
	get_twice(&vm->vcpu[1], &s);
	CHECK_EQ(s.events.smi.latched_init, 1);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_RUNNABLE);
	expect_init(&vm->vcpu[1]);
	vm_destroy(vm);
}

TEST(sipi_to_a_waiting_processor)
{
	struct vm *vm = running(), *other;
	struct smm_state s;

	send(vm, 1, MSG_INIT);
	expect_init(&vm->vcpu[1]);
	send(vm, 1, MSG_SIPI | VECTOR);
	get_twice(&vm->vcpu[1], &s);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_SIPI_RECEIVED);
	CHECK_EQ(s.events.sipi_vector, VECTOR);
	/* The getter started nothing. */
	CHECK_EQ(s.sregs.cs.selector, 0xf000);
	other = moved(&vm->vcpu[1], true);
	expect_started(&other->vcpu[1]);
	expect_started(&vm->vcpu[1]);
	vm_destroy(other);
	vm_destroy(vm);
}

/* Before the first INIT it means nothing, and neither the image nor a later INIT knows of it. */
TEST(sipi_before_the_first_init)
{
	struct vm *vm = two_cpus(), *other, *both[2];
	struct smm_state s;
	int i;

	send(vm, 1, MSG_SIPI | VECTOR);
	get_twice(&vm->vcpu[1], &s);
	CHECK_EQ(s.mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	CHECK(!(s.events.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR));
	other = moved(&vm->vcpu[1], true);
	both[0] = vm;
	both[1] = other;
	for (i = 0; i < 2; i++) {
		vcpu_run_briefly(&both[i]->vcpu[1]);
		CHECK_EQ(vcpu_mp_state(&both[i]->vcpu[1]), KVM_MP_STATE_UNINITIALIZED);
		send(both[i], 1, MSG_INIT);
		expect_init(&both[i]->vcpu[1]);
		send(both[i], 1, MSG_SIPI | VECTOR);
		expect_started(&both[i]->vcpu[1]);
		vm_destroy(both[i]);
	}
}

/* To one that runs it means nothing, then and later. */
TEST(sipi_to_a_running_processor)
{
	struct vm *vm = running();
	struct smm_state before, after;

	smm_get_state(&vm->vcpu[1], &before);
	send(vm, 1, MSG_SIPI | VECTOR);
	CHECK_EQ(vcpu_mp_state(&vm->vcpu[1]), KVM_MP_STATE_RUNNABLE);
	RUN_UNTIL_LOOP(&vm->vcpu[1]);
	smm_get_state(&vm->vcpu[1], &after);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	send(vm, 1, MSG_INIT);
	expect_init(&vm->vcpu[1]);
	vm_destroy(vm);
}

/* INIT resets the boot processor and lets it go on, at the reset vector. */
TEST(init_of_the_boot_processor)
{
	struct vm *vm = two_cpus();
	struct vcpu *vcpu = vm->vcpu;
	u8 *rom = host_alloc(4096, 4096);

	memcpy(rom + 0xff0, payload_loop, payload_loop_end - payload_loop);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, 0xfffff000, 4096, rom), 0);
	vcpu_set_long(vcpu, (void *)GPA_PAYLOAD, 0);
	RUN_UNTIL_LOOP(vcpu);
	send(vm, 0, MSG_INIT);
	RUN_UNTIL_LOOP(vcpu);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	CHECK_EQ(vcpu->run->flags & KVM_RUN_X86_SMM, 0);
	vm_destroy(vm);
}
