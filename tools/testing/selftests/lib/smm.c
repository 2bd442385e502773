// SPDX-License-Identifier: GPL-2.0
/*
 * SMRAM, its handler, and state to compare; see smm.h.
 */
#include <string.h>

#include "smm.h"

asm(".pushsection .rodata\n"
    ".globl payload_loop, payload_loop_end, smm_handler, smm_handler_end\n"
    "payload_loop:	.byte 0xe6, 0x78, 0xeb, 0xfc\n"	/* out %al, $0x78; jmp . - 2 */
    "payload_loop_end:\n"
    "smm_handler:	.code16; outb %al, $0x77; rsm; .code64\n"
    "smm_handler_end:\n"
    ".popsection");

void smm_set_handler(u8 *smram, const void *start, const void *end)
{
	memcpy(smram + SMM_ENTRY, start, (const u8 *)end - (const u8 *)start);
}

u8 *smm_prepare(struct vm *vm, unsigned int nr_vcpus)
{
	u8 *smram;
	unsigned int i;

	NEED_CAP(KVM_CAP_X86_SMM);
	STRATA_ONLY("an OUT is complete when userspace sees it, so that a vCPU can be moved there");
	REQUIRE_EQ(kvm_cap(vm->fd, KVM_CAP_MULTI_ADDRESS_SPACE), 2);
	smram = host_alloc(SMRAM_SIZE, 4096);
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16, 0, 0, SLOT0_SIZE, vm->mem), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16 | 1, 0, SMRAM_GPA, SMRAM_SIZE, smram), 0);
	smm_set_handler(smram, smm_handler, smm_handler_end);
	smm_set_handler(smram + (SMRAM_GPA2 - SMRAM_GPA), smm_handler, smm_handler_end);
	for (i = 0; i < nr_vcpus; i++)
		REQUIRE_EQ(vcpu_set_msr(&vm->vcpu[i], MSR_SMBASE, SMRAM_GPA), 1);
	return smram;
}

void run_expect_port(const char *file, int line, struct vcpu *vcpu, u16 port)
{
	run_expect(file, line, vcpu, KVM_EXIT_IO);
	if (vcpu->run->io.port != port)
		tap_die(file, line, "OUT to port %#x, expected %#x", vcpu->run->io.port, port);
}

void smm_get_state(struct vcpu *vcpu, struct smm_state *s)
{
	memset(s, 0, sizeof(*s));
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s->events);
	xioctl(vcpu->fd, KVM_GET_REGS, &s->regs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &s->sregs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &s->debug);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &s->mp);
	REQUIRE_EQ(vcpu_get_msr(vcpu, MSR_SMBASE, &s->smbase), 1);
}

void smm_set_state(struct vcpu *vcpu, const struct smm_state *s)
{
	xioctl(vcpu->fd, KVM_SET_SREGS, &s->sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &s->regs);
	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &s->debug);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &s->events);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &s->mp);
	REQUIRE_EQ(vcpu_set_msr(vcpu, MSR_SMBASE, s->smbase), 1);
}

u64 smm_field(const u8 *smram, unsigned int at, unsigned int len)
{
	u64 val = 0;

	memcpy(&val, smram + at, len);
	return val;
}

void smm_set_field(u8 *smram, unsigned int at, unsigned int len, u64 val)
{
	memcpy(smram + at, &val, len);
}

struct vm *smm_looping_vm(u8 **smram)
{
	struct vm *vm = vm_create(1);

	*smram = smm_prepare(vm, 1);
	vcpu_set_long(vm->vcpu, (void *)vm_load_payload(vm, 0, payload_loop, payload_loop_end), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	return vm;
}
