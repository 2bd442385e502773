// SPDX-License-Identifier: GPL-2.0
/*
 * What: SMIs among other events: pending and saved, NMI and INIT during SMM, SMI in an NMI handler
 * and in HLT; SMI as an interrupt message.
 * Conditions: those with messages and HLT need the in-kernel interrupt controllers.
 * Expected: one SMM entry for each SMI that was not pending already; what SMM holds back comes
 * after RSM; what KVM_GET_VCPU_EVENTS says, set into another vCPU, goes on the same way.
 */
#include <string.h>

#include "smm.h"
#include "state.h"

static struct kvm_vcpu_events events_of(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events, again;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &again);
	CHECK_EQ(memcmp(&events, &again, sizeof(events)), 0);
	return events;
}

/* The same state and memory in another VM. */
static struct vm *clone_vm(struct vm *vm, const u8 *smram)
{
	struct vm *other = vm_create(1);
	struct smm_state s;
	u8 *ram = smm_prepare(other, 1);

	memcpy(other->mem, vm->mem, SLOT0_SIZE);
	memcpy(ram, smram, SMRAM_SIZE);
	smm_get_state(vm->vcpu, &s);
	smm_set_state(other->vcpu, &s);
	return other;
}

TEST(pending_is_saved)
{
	u8 *smram;
	struct vm *vm = smm_looping_vm(&smram), *other;

	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	CHECK_EQ(events_of(vm->vcpu).smi.pending, 1);
	CHECK_EQ(events_of(vm->vcpu).smi.smm, 0);
	other = clone_vm(vm, smram);
	CHECK_EQ(events_of(other->vcpu).smi.pending, 1);
	/* Both go on alike: two were one. */
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_SMM(other->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_LOOP(other->vcpu);
	CHECK_EQ(events_of(other->vcpu).smi.pending, 0);
	vm_destroy(other);
	vm_destroy(vm);
}

TEST(next_waits_for_rsm)
{
	u8 *smram;
	struct vm *vm = smm_looping_vm(&smram), *other;

	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	CHECK_EQ(events_of(vm->vcpu).smi.pending, 1);
	CHECK_EQ(events_of(vm->vcpu).smi.smm, 1);
	/* Moved while in SMM, with one more waiting. */
	other = clone_vm(vm, smram);
	RUN_UNTIL_SMM(other->vcpu);
	CHECK_EQ(events_of(other->vcpu).smi.pending, 0);
	RUN_UNTIL_LOOP(other->vcpu);
	vm_destroy(other);
	vm_destroy(vm);
}

static volatile u64 nmis;

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
	nmis++;
	guest_sync(0x100 + nmis);
}

static void guest_counts(void)
{
	guest_sync(1);
	guest_sync(2);
	guest_done();
}

static struct vm *nmi_vm(u8 **smram)
{
	struct vm *vm;

	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = vm_create(1);
	*smram = smm_prepare(vm, 1);
	vcpu_set_long(vm->vcpu, guest_counts, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	return vm;
}

TEST(nmi_waits_for_rsm)
{
	u8 *smram;
	struct vm *vm = nmi_vm(&smram);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events ev;

	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	ev = events_of(vcpu);
	CHECK_EQ(ev.nmi.masked, 1);
	CHECK_EQ(ev.nmi.pending, 1);
	CHECK_EQ(ev.smi.smm_inside_nmi, 0);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	CHECK_EQ(events_of(vcpu).smi.smm, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(events_of(vcpu).nmi.masked, 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/* At one boundary the SMI goes first. */
TEST(smi_before_nmi)
{
	u8 *smram;
	struct vm *vm = nmi_vm(&smram);

	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(events_of(vm->vcpu).nmi.pending, 1);
	RUN_UNTIL_SYNC(vm->vcpu, 0x101);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	vm_destroy(vm);
}

/* RSM brings back that NMIs are masked; the move happens in the handler's SMM. */
TEST(smi_in_nmi_handler)
{
	u8 *smram;
	struct vm *vm = nmi_vm(&smram), *other;
	struct vcpu *vcpu = vm->vcpu;

	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(events_of(vcpu).smi.smm_inside_nmi, 1);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	other = clone_vm(vm, smram);
	vcpu = other->vcpu;
	CHECK_EQ(events_of(vcpu).smi.smm_inside_nmi, 1);
	CHECK_EQ(events_of(vcpu).nmi.pending, 1);
	/* Behind RSM the first handler ends; only then the second NMI. */
	RUN_UNTIL_SYNC(vcpu, 0x102);
	CHECK_EQ(*guest_var(other, &nmis), 2);
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(other);
	vm_destroy(vm);
}

static struct vm *irqchip_vm(u8 **smram, unsigned int nr)
{
	struct vm *vm = vm_create_with(&(struct vm_config) { .nr_vcpus = nr, .irqchip = CHIP_FULL }, NULL);

	*smram = smm_prepare(vm, nr);
	vcpu_set_long(&vm->vcpu[nr - 1],
		      (void *)vm_load_payload(vm, 0, payload_loop, payload_loop_end), 0);
	vcpu_set_mp_state(&vm->vcpu[nr - 1], KVM_MP_STATE_RUNNABLE);
	RUN_UNTIL_LOOP(&vm->vcpu[nr - 1]);
	return vm;
}

/* The thread is to be sleeping in KVM_RUN when the signal comes. */
static void run_halted(struct vcpu *vcpu)
{
	vcpu_run_briefly(vcpu);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_HALTED);
}

TEST(in_hlt)
{
	u8 *smram;
	struct vm *vm = irqchip_vm(&smram, 1);
	struct vcpu *vcpu = vm->vcpu;

	vcpu_set_mp_state(vcpu, KVM_MP_STATE_HALTED);
	run_halted(vcpu);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_AUTO_HALT, 1), 1);
	/* RSM goes back to HLT. */
	run_halted(vcpu);
	CHECK_EQ(events_of(vcpu).smi.smm, 0);
	/* The handler has the guest go on behind the HLT. */
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	smm_set_field(smram, SMM_SAVE + S64_AUTO_HALT, 1, 0);
	RUN_UNTIL_LOOP(vcpu);
	vm_destroy(vm);
}

/* SMI and NMI in HLT: the SMI goes first and notes the HLT, the NMI ends it. */
TEST(in_hlt_with_nmi)
{
	u8 *smram;
	struct vm *vm = irqchip_vm(&smram, 1);
	struct vcpu *vcpu = vm->vcpu;

	vcpu_set_mp_state(vcpu, KVM_MP_STATE_HALTED);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_AUTO_HALT, 1), 1);
	guest_handlers[NMI_VECTOR] = on_nmi;
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_nmi;
	RUN_UNTIL_SYNC(vcpu, 0x101);
	vm_destroy(vm);
}

static int signal_msi(struct vm *vm, u32 dest, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	return kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

TEST(as_a_message)
{
	u8 *smram;
	struct vm *vm = irqchip_vm(&smram, 1);

	CHECK_EQ(signal_msi(vm, 0, 2 << 8), 1);
	CHECK_EQ(events_of(vm->vcpu).smi.pending, 1);
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	vm_destroy(vm);
}

/* A handler that does something more before RSM */
asm(".pushsection .rodata\n"
    "slow_handler: .code16; outb %al, $0x77; outb %al, $0x76; rsm; .code64\n"
    "slow_handler_end:\n"
    ".popsection");
extern const char slow_handler[], slow_handler_end[];

/* INIT waits for RSM, in the queue that userspace sees, and resets then. */
TEST(init_waits_for_rsm)
{
	u8 *smram;
	struct vm *vm = irqchip_vm(&smram, 2);
	struct vcpu *vcpu = &vm->vcpu[1];
	struct kvm_sregs sregs;
	u64 smbase;

	smm_set_handler(smram, slow_handler, slow_handler_end);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(signal_msi(vm, 1, 5 << 8 | 1 << 14), 1);
	RUN_UNTIL_PORT(vcpu, 0x76);
	CHECK_EQ(events_of(vcpu).smi.latched_init, 1);
	CHECK_EQ(events_of(vcpu).smi.smm, 1);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	vcpu_run_briefly(vcpu);
	CHECK_EQ(events_of(vcpu).smi.latched_init, 0);
	CHECK_EQ(events_of(vcpu).smi.smm, 0);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_INIT_RECEIVED);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cs.selector, 0xf000);
	/* INIT leaves SMRAM where it is. */
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_SMBASE, &smbase), 1);
	CHECK_EQ(smbase, SMRAM_GPA);
	vm_destroy(vm);
}
