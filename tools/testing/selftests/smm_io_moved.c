// SPDX-License-Identifier: GPL-2.0
/*
 * What: a vCPU that is moved into another VM between an I/O instruction and the SMI that is taken
 * at its end (smm_io).
 * Conditions: strata; with STRATA_CAP_EVENTS, and once without.
 * Expected: the handler in the new VM finds the instruction and may have it restarted; without the
 * capability it is not offered. An instruction that is not over yet is none.
 */
#include <errno.h>
#include <string.h>

#include "smm_io.h"

static const struct vm_config with_events = { .nr_vcpus = 1, .strata_events = true }, plain = { .nr_vcpus = 1 };

/* An SMI that comes when the next instruction has begun is another's. */
TEST(not_of_an_earlier_out)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, smm_io_in, smm_io_in_end);

	smm_io_set_string(vm->vcpu, 0, 0, 0x80);
	RUN_UNTIL_PORT(vm->vcpu, 0x80);
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_PORT(vm->vcpu, 0x80);
	/* Before the IN is over: the state that goes is the one before it. */
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	{
		struct vm *other = vm_create_with(&with_events, NULL);
		struct smm_state s;
		u8 *ram = smm_prepare(other, 1);

		memcpy(other->mem, vm->mem, SLOT0_SIZE);
		smm_get_state(vm->vcpu, &s);
		smm_set_state(other->vcpu, &s);
		RUN_UNTIL_SMM(other->vcpu);
		CHECK_EQ(IO_DWORD(ram), 0);
		RUN_UNTIL_PORT(other->vcpu, 0x80);
		vm_destroy(other);
	}
	vm_destroy(vm);
}

/* Moved between the instruction and the SMI, whichever SET comes first. @config: of both VMs */
static void moved(const struct vm_config *config, bool in, bool smi_first, bool regs_last)
{
	u8 *smram, *ram;
	struct vm *vm = smm_io_vm(config, &smram, in ? smm_io_in : smm_io_out, in ? smm_io_in_end : smm_io_out_end), *other;
	struct vcpu *vcpu = vm->vcpu;
	struct smm_state s, t;

	smm_io_set_string(vcpu, 7, 8, 0x1234);
	RUN_UNTIL_PORT(vcpu, in ? 0x1234 : PORT_LOOP);
	if (smi_first)
		xioctl(vcpu->fd, KVM_SMI, NULL);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	smm_get_state(vcpu, &s);
	CHECK_EQ(s.events.smi.pending, smi_first);
	other = vm_create_with(config, NULL);
	ram = smm_prepare(other, 1);
	memcpy(other->mem, vm->mem, SLOT0_SIZE);
	smm_set_state(other->vcpu, &s);
	if (regs_last)
		xioctl(other->vcpu->fd, KVM_SET_REGS, &s.regs);
	smm_get_state(other->vcpu, &t);
	CHECK_EQ(memcmp(&s, &t, sizeof(s)), 0);
	if (!smi_first)
		xioctl(other->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(other->vcpu);
	if (config->strata_events) {
		CHECK_EQ(IO_DWORD(ram), in ? 0x12340043 : 0x00780012);
		CHECK_EQ(S64(ram, IO_RIP), s.regs.rip - (in ? 1 : 2));
		smm_io_restart(ram);
		RUN_UNTIL_PORT(other->vcpu, in ? 0x1234 : PORT_LOOP);
		CHECK_EQ(smm_io_regs(other->vcpu).rbx, 0);
	} else {
		CHECK_EQ(IO_DWORD(ram), 0);
		smm_io_restart(ram);
		RUN_UNTIL_LOOP(other->vcpu);
		CHECK_EQ(smm_io_regs(other->vcpu).rbx, 1);
	}
	vm_destroy(other);
	vm_destroy(vm);
}

TEST(moved_after_out)			{ moved(&with_events, false, true, false); }
TEST(moved_after_out_before_smi)	{ moved(&with_events, false, false, true); }
TEST(moved_after_in)			{ moved(&with_events, true, true, true); }
TEST(moved_without_the_capability)	{ moved(&plain, false, true, false); }
