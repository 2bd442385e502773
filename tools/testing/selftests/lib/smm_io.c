// SPDX-License-Identifier: GPL-2.0
/*
 * SMIs at the end of an I/O instruction; see smm_io.h.
 */
#include "smm_io.h"

asm(".pushsection .rodata\n"
    ".globl smm_io_out, smm_io_out_end, smm_io_in, smm_io_in_end\n"
    "smm_io_out:	out %al, $0x78; .byte 0xff, 0xc3; .byte 0xeb, 0xfa\n"		/* inc %ebx; jmp smm_io_out */
    "smm_io_out_end:\n"
    "smm_io_in:	in (%dx), %eax; .byte 0xff, 0xc3; out %al, $0x78; .byte 0xeb, 0xf9\n"
    "smm_io_in_end:\n"
    ".popsection");

struct vm *smm_io_vm(const struct vm_config *config, u8 **smram, const void *start, const void *end)
{
	struct vm *vm = vm_create_with(config, NULL);

	*smram = smm_prepare(vm, 1);
	vcpu_set_long(vm->vcpu, (void *)vm_load_payload(vm, 0, start, end), 0);
	return vm;
}

struct kvm_regs smm_io_regs(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	return regs;
}

void smm_io_set_string(struct vcpu *vcpu, u64 count, u64 address, u16 port)
{
	struct kvm_regs regs = smm_io_regs(vcpu);

	regs.rcx = count;
	regs.rsi = regs.rdi = address;
	regs.rdx = port;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

void smm_io_restart(u8 *smram)
{
	CHECK_EQ(smm_field(smram, RESTART64, 1), 0);
	smm_set_field(smram, RESTART64, 1, 0xff);
}
