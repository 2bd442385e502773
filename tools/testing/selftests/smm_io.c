// SPDX-License-Identifier: GPL-2.0
/*
 * What: an SMI that is taken at the end of an I/O instruction, and what the handler finds and does:
 * the I/O fields of the save area, the restart. (Moved in between: smm_io_moved.)
 * Conditions: strata. Two cases need the in-kernel interrupt controllers.
 * Expected: the fields name the instruction, its port, and the registers before it; with 0xff in
 * the restart slot RSM executes it again, else the program goes on.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "smm_io.h"

/* In the save area: 32-bit map */
#define IO_STATE(smram)	((u32)smm_field(smram, SMM_SAVE + 0x11c, 4))
#define RESTART32	(SMM_SAVE + 0x100)

#define BUFFER		GPA_HEAP

/* As smm_io_in, with other instructions in front */
asm(".pushsection .rodata\n"
    ".globl io_outs, io_outs_end, io_ins, io_ins_end, io_hlt, io_hlt_end, io_bell, io_bell_end\n"
    "io_outs:	rep outsw; .byte 0xff, 0xc3; out %al, $0x78; .byte 0xeb, 0xf7\n"
    "io_outs_end:\n"
    "io_ins:	rep insb; .byte 0xff, 0xc3; out %al, $0x78; .byte 0xeb, 0xf8\n"
    "io_ins_end:\n"
    "io_bell:	out %al, (%dx); .byte 0xff, 0xc3; out %al, $0x78; .byte 0xeb, 0xf9\n"
    "io_bell_end:\n"
    "io_hlt:	hlt; out %al, $0x78; .byte 0xeb, 0xfb\n"
    "io_hlt_end:\n"
    ".popsection");
extern const char io_outs[], io_outs_end[], io_ins[], io_ins_end[], io_hlt[], io_hlt_end[],
	io_bell[], io_bell_end[];

static const struct vm_config with_events = { .nr_vcpus = 1, .strata_events = true };

TEST(out_runs_again)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, smm_io_out, smm_io_out_end);
	u64 rip;

	RUN_UNTIL_LOOP(vm->vcpu);
	rip = smm_io_regs(vm->vcpu).rip;
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_REVISION, 4), 0x30064);
	CHECK_EQ(IO_DWORD(smram), 0x00780012);
	CHECK_EQ(S64(smram, RIP), rip);
	CHECK_EQ(S64(smram, IO_RIP), rip - 2);
	/* Left alone, the program goes on. */
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 1);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	smm_io_restart(smram);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 1);
	CHECK_EQ(smm_io_regs(vm->vcpu).rip, rip);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 2);
	vm_destroy(vm);
}

/* The answer to an IN, and the SMI with it: IN is over first. */
TEST(in_runs_again)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, smm_io_in, smm_io_in_end);
	struct vcpu *vcpu = vm->vcpu;
	u32 *data = (u32 *)((u8 *)vcpu->run + 4096);
	u64 rip;

	smm_io_set_string(vcpu, 7, 8, 0x1234);
	RUN_UNTIL_PORT(vcpu, 0x1234);
	CHECK_EQ(vcpu->run->io.size, 4);
	rip = smm_io_regs(vcpu).rip;
	*data = 0x11111111;
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(IO_DWORD(smram), 0x12340043);
	CHECK_EQ(S64(smram, RIP), rip + 1);
	CHECK_EQ(S64(smram, IO_RIP), rip);
	CHECK_EQ(S64(smram, RAX), 0x11111111);
	CHECK_EQ(S64(smram, IO_RCX), 7);
	CHECK_EQ(S64(smram, IO_RSI), 8);
	smm_io_restart(smram);
	RUN_UNTIL_PORT(vcpu, 0x1234);
	CHECK_EQ(smm_io_regs(vcpu).rip, rip);
	*data = 0x22222222;
	RUN_UNTIL_LOOP(vcpu);
	CHECK_EQ((u32)smm_io_regs(vcpu).rax, 0x22222222);
	CHECK_EQ(smm_io_regs(vcpu).rbx, 1);
	vm_destroy(vm);
}

/* An element of OUTS again: in between, and the last one */
TEST(outs_runs_again)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, io_outs, io_outs_end);
	struct vcpu *vcpu = vm->vcpu;
	u16 *data = (u16 *)((u8 *)vcpu->run + 4096);
	u64 rip = smm_io_regs(vcpu).rip;

	memcpy(gpa_to_host(vm, BUFFER), "aabb", 4);
	smm_io_set_string(vcpu, 2, BUFFER, 0x80);
	RUN_UNTIL_PORT(vcpu, 0x80);
	CHECK_EQ(*data, 0x6161);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(IO_DWORD(smram), 0x0080002e);
	CHECK_EQ(S64(smram, RIP), rip);
	CHECK_EQ(S64(smram, IO_RIP), rip);
	CHECK_EQ(S64(smram, IO_RCX), 2);
	CHECK_EQ(S64(smram, IO_RSI), BUFFER);
	smm_io_restart(smram);
	RUN_UNTIL_PORT(vcpu, 0x80);
	CHECK_EQ(*data, 0x6161);
	RUN_UNTIL_PORT(vcpu, 0x80);
	CHECK_EQ(*data, 0x6262);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(S64(smram, RIP), rip + 3);
	CHECK_EQ(S64(smram, IO_RIP), rip);
	CHECK_EQ(S64(smram, IO_RCX), 1);
	CHECK_EQ(S64(smram, IO_RSI), BUFFER + 2);
	smm_io_restart(smram);
	RUN_UNTIL_PORT(vcpu, 0x80);
	CHECK_EQ(*data, 0x6262);
	RUN_UNTIL_LOOP(vcpu);
	CHECK_EQ(smm_io_regs(vcpu).rcx, 0);
	CHECK_EQ(smm_io_regs(vcpu).rsi, BUFFER + 4);
	CHECK_EQ(smm_io_regs(vcpu).rbx, 1);
	vm_destroy(vm);
}

TEST(ins_runs_again)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, io_ins, io_ins_end);
	struct vcpu *vcpu = vm->vcpu;
	u8 *data = (u8 *)vcpu->run + 4096;
	u64 rip = smm_io_regs(vcpu).rip;

	smm_io_set_string(vcpu, 2, BUFFER, 0x80);
	RUN_UNTIL_PORT(vcpu, 0x80);
	*data = 'x';
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	CHECK_EQ(IO_DWORD(smram), 0x0080001f);
	CHECK_EQ(S64(smram, IO_RIP), rip);
	CHECK_EQ(S64(smram, IO_RCX), 2);
	CHECK_EQ(S64(smram, IO_RDI), BUFFER);
	smm_io_restart(smram);
	RUN_UNTIL_PORT(vcpu, 0x80);
	*data = 'y';
	RUN_UNTIL_PORT(vcpu, 0x80);
	*data = 'z';
	RUN_UNTIL_LOOP(vcpu);
	CHECK_EQ(memcmp(gpa_to_host(vm, BUFFER), "yz", 2), 0);
	CHECK_EQ(smm_io_regs(vcpu).rdi, BUFFER + 2);
	vm_destroy(vm);
}

/* Behind anything else the slot is only a slot: after a HLT, and where userspace has put RIP. */
TEST(behind_other_instructions)
{
	u8 *smram;
	struct vm *vm = smm_io_vm(&with_events, &smram, io_hlt, io_hlt_end);
	struct kvm_regs regs;
	u64 rip;

	RUN_UNTIL(vm->vcpu, KVM_EXIT_HLT);
	rip = smm_io_regs(vm->vcpu).rip;
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(IO_DWORD(smram), 0);
	CHECK_EQ(S64(smram, IO_RIP), 0);
	smm_io_restart(smram);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rip, rip + 2);
	regs = smm_io_regs(vm->vcpu);
	regs.rip -= 3;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(IO_DWORD(smram), 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_HLT);
	vm_destroy(vm);
}

static volatile u64 steps;

static void on_step(struct guest_frame *frame)
{
	if (++steps == 4)
		frame->rflags &= ~RFLAGS_TF;
}

/* The step over an OUT that runs again is one step. */
TEST(stepped)
{
	struct kvm_regs regs;
	struct vm *vm;
	u8 *smram;

	guest_handlers[DB_VECTOR] = on_step;
	vm = smm_io_vm(&with_events, &smram, smm_io_out, smm_io_out_end);
	regs = smm_io_regs(vm->vcpu);
	regs.rflags |= RFLAGS_TF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	RUN_UNTIL_LOOP(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(IO_DWORD(smram), 0x00780812);
	CHECK_EQ(*guest_var(vm, &steps), 0);
	smm_io_restart(smram);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &steps), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &steps), 3);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 1);
	vm_destroy(vm);
}

/* OUT with a doorbell, whose eventfd is an irqfd's: the SMI is there before the OUT is over. */
static void doorbell(u16 port, bool with_events)
{
	struct { struct kvm_irq_routing head; struct kvm_irq_routing_entry entry; } routing = {
		.head.nr = 1,
		.entry = { .gsi = 5, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = 0xfee00000, .data = 2 << 8 } },
	};
	const struct vm_config config = { .nr_vcpus = 1, .irqchip = CHIP_FULL, .strata_events = with_events };
	struct kvm_ioeventfd bell = { .addr = port, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO, .fd = eventfd(0, EFD_NONBLOCK) };
	struct kvm_irqfd irqfd = { .fd = (u32)bell.fd, .gsi = 5 };
	u8 *smram;
	struct vm *vm = smm_io_vm(&config, &smram, io_bell, io_bell_end);
	u64 rip = smm_io_regs(vm->vcpu).rip;

	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &routing);
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	xioctl(vm->fd, KVM_IOEVENTFD, &bell);
	smm_io_set_string(vm->vcpu, 0, 0, port);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(IO_DWORD(smram), (u32)port << 16 | 0x12);
	CHECK_EQ(S64(smram, RIP), rip + 1);
	CHECK_EQ(S64(smram, IO_RIP), rip);
	smm_io_restart(smram);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(S64(smram, RIP), rip + 1);
	CHECK_EQ(S64(smram, RBX), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 1);
	vm_destroy(vm);
	close(bell.fd);
}

TEST(doorbell_runs_again)		{ doorbell(0x79, true); }
TEST(doorbell_without_the_capability)	{ doorbell(0x579, false); }

TEST(map32)
{
	struct vm *vm = vm_create_with(&with_events, NULL);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	u8 *smram = smm_prepare(vm, 1);
	u64 rip;

	cpuid_entry(cpuid, 0x80000001, 0)->edx &= ~(1u << 29);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	vcpu_set_prot(vm->vcpu, vm_load_payload(vm, 0, smm_io_out, smm_io_out_end));
	RUN_UNTIL_LOOP(vm->vcpu);
	rip = smm_io_regs(vm->vcpu).rip;
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(smm_field(smram, SMM_SAVE + 0x0fc, 4), 0x30000);
	CHECK_EQ(IO_STATE(smram), 0x00780083);
	smm_set_field(smram, RESTART32, 2, 0xff);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(smm_io_regs(vm->vcpu).rbx, 0);
	CHECK_EQ(smm_io_regs(vm->vcpu).rip, rip);
	vm_destroy(vm);
}
