// SPDX-License-Identifier: GPL-2.0
/*
 * What: an SMI at an instruction boundary where something else is in the way: a debug trap, an
 * interrupt shadow.
 * Conditions: no in-kernel interrupt controller; strata.
 * Expected: the SMI goes first, and RSM comes back to the same boundary: with the trap, whose
 * causes reach DR6 then, and with the shadow.
 */
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "smm.h"
#include "state.h"

static struct kvm_vcpu_events smm_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	return events;
}

static volatile u64 traps, trap_rip;

static void on_db(struct guest_frame *frame)
{
	traps++;
	trap_rip = frame->rip;
	frame->rflags &= ~RFLAGS_TF;
}

/*
 * A trap that waits with its causes is overtaken, and happens at RSM: before the next instruction,
 * with DR6 then.
 */
TEST(before_a_debug_trap)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_debugregs debug;
	struct kvm_vcpu_events ev;
	struct kvm_regs regs;
	struct vm *vm;
	u8 *smram;

	guest_handlers[DB_VECTOR] = on_db;
	vm = smm_looping_vm(&smram);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &debug);
	ev = smm_events(vm->vcpu);
	ev.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	ev.exception.pending = 1;
	ev.exception.nr = DB_VECTOR;
	ev.exception_has_payload = 1;
	ev.exception_payload = 1 << 14;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(smm_events(vm->vcpu).exception.pending, 0);
	CHECK_EQ(S64(smram, DR6), debug.dr6);
	CHECK_EQ(*guest_var(vm, &traps), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &traps), 1);
	CHECK_EQ(*guest_var(vm, &trap_rip), regs.rip);
	xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &debug);
	CHECK(debug.dr6 & 1 << 14);
	vm_destroy(vm);
}

/*
 * Overtaken, and then another state is set over it, which is not in SMM: the trap is of the one
 * that is gone.
 */
TEST(trap_of_a_state_that_is_replaced)
{
	struct smm_state other;
	struct kvm_regs regs;
	struct vm *vm;
	u8 *smram;

	guest_handlers[DB_VECTOR] = on_db;
	vm = smm_looping_vm(&smram);
	smm_get_state(vm->vcpu, &other);
	regs = other.regs;
	regs.rip -= 2;
	regs.rflags |= RFLAGS_TF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	RUN_UNTIL_LOOP(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	smm_set_state(vm->vcpu, &other);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &traps), 0);
	vm_destroy(vm);
}

/*
 * Held back by MOV SS, then overtaken: RSM restores the shadow, and the trap waits for one more
 * instruction.
 */
TEST(before_a_trap_under_a_shadow)
{
	const struct vm_config config = { .nr_vcpus = 1, .payload = true, .strata_events = true };
	struct strata_events held = { .flags = STRATA_EVENTS_VALID, .pending_dbg = 2 }, s;
	struct kvm_vcpu_events ev;
	struct kvm_debugregs debug;
	struct kvm_regs regs;
	struct vm *vm;

	STRATA_ONLY("debug traps that MOV SS holds back can be set");
	guest_handlers[DB_VECTOR] = on_db;
	vm = vm_create_with(&config, NULL);
	smm_prepare(vm, 1);
	vcpu_set_long(vm->vcpu, (void *)vm_load_payload(vm, 0, payload_loop, payload_loop_end), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	ev = smm_events(vm->vcpu);
	ev.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	ev.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
	memcpy(ev.reserved, &held, sizeof(held));
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	ev = smm_events(vm->vcpu);
	memcpy(&s, ev.reserved, sizeof(s));
	CHECK_EQ(s.pending_dbg, 0);
	CHECK_EQ(s.smm_dbg, 2);
	CHECK_EQ(*guest_var(vm, &traps), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &traps), 1);
	/* TCG forgets the shadow if the host is interrupted in it. */
	if (!host_is_tcg() || *guest_var(vm, &trap_rip) != regs.rip)
		CHECK_EQ(*guest_var(vm, &trap_rip), regs.rip - 2);
	xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &debug);
	CHECK_EQ(debug.dr6 & 0xf, 2);
	vm_destroy(vm);
}

static volatile u64 irqs, irq_rip;

static void on_irq(struct guest_frame *frame)
{
	irqs++;
	irq_rip = frame->rip;
}

/* The shadow comes back with RSM: an interrupt waits for one more instruction. */
TEST(under_a_shadow)
{
	struct kvm_interrupt irq = { .irq = 0x41 };
	struct kvm_vcpu_events ev;
	struct kvm_regs regs;
	struct vm *vm;
	u8 *smram;

	guest_handlers[0x41] = on_irq;
	vm = smm_looping_vm(&smram);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rflags |= RFLAGS_IF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	ev = smm_events(vm->vcpu);
	ev.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	ev.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK(smm_field(smram, SMM_SAVE + S64_SHADOW, 1) & KVM_X86_SHADOW_INT_STI);
	CHECK_EQ(smm_events(vm->vcpu).interrupt.shadow, 0);
	CHECK_EQ(*guest_var(vm, &irqs), 0);
	/* The jump back runs; the interrupt comes before the OUT. */
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &irqs), 1);
	/* TCG's VMRUN does not load the shadow. */
	if (!host_is_tcg())
		CHECK_EQ(*guest_var(vm, &irq_rip), regs.rip - 2);
	vm_destroy(vm);
}
