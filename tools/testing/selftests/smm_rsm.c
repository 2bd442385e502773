// SPDX-License-Identifier: GPL-2.0
/*
 * What: RSM of a save area that the handler changed: moved SMBASE, another program, a state that
 * cannot be; SMRAM in the second address space, with its own dirty log, or nowhere.
 * Conditions: no in-kernel interrupt controller. The stop between a failed RSM and the shutdown
 * needs STRATA_CAP_EXIT_EACH.
 * Expected: each failed check shuts the vCPU down; in between the triple fault is in the queue, and
 * goes with the vCPU into another VM.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "smm.h"

static void set_loop(struct vcpu *vcpu)
{
	vcpu_set_long(vcpu, (void *)vm_load_payload(vcpu->vm, 0, payload_loop, payload_loop_end),
		      0);
}

/* Stopped in the handler, with the state before the SMI. */
static struct vm *vm_in_smm(u8 **smram, struct smm_state *before)
{
	struct vm *vm = vm_create(1);

	*smram = smm_prepare(vm, 1);
	set_loop(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	smm_get_state(vm->vcpu, before);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	return vm;
}

TEST(relocates)
{
	struct smm_state before;
	struct kvm_sregs sregs;
	u8 *smram;
	struct vm *vm = vm_in_smm(&smram, &before);
	u64 smbase;

	smm_set_field(smram, SMM_SAVE + S64_SMBASE, 4, SMRAM_GPA2);
	RUN_UNTIL_LOOP(vm->vcpu);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_SMBASE, &smbase), 1);
	CHECK_EQ(smbase, SMRAM_GPA2);
	memset(smram + SMM_SAVE, 0xee, 512);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cs.base, SMRAM_GPA2);
	CHECK_EQ(sregs.cs.selector, (SMRAM_GPA2 >> 4) & 0xffff);
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_RIP, 8), 0xeeeeeeeeeeeeeeee);
	CHECK_EQ(S64(smram + 0x10000, RIP), before.regs.rip);
	RUN_UNTIL_LOOP(vm->vcpu);
	vm_destroy(vm);
}

/* What the handler leaves in the save area is what goes on. */
TEST(changed_registers)
{
	struct smm_state before, after;
	u8 *smram;
	struct vm *vm = vm_in_smm(&smram, &before);

	smm_set_field(smram, SMM_SAVE + S64_RAX, 8, 0x1234567812345678);
	smm_set_field(smram, SMM_SAVE + S64_DR7, 8, 0x700);
	smm_set_field(smram, SMM_SAVE + S64_CR0, 8, before.sregs.cr0 | CR0_TS);
	RUN_UNTIL_LOOP(vm->vcpu);
	smm_get_state(vm->vcpu, &after);
	CHECK_EQ(after.regs.rax, 0x1234567812345678);
	CHECK_EQ(after.debug.dr7, 0x700);
	CHECK_EQ(after.sregs.cr0, before.sregs.cr0 | CR0_TS);
	vm_destroy(vm);
}

#define OVERLAY_GPA 0xc00000ull
#define MSR_KVM_CLOCK 0x4b564d01

/* Reads a place where the two address spaces have different memory; then the loop does. */
asm(".pushsection .rodata\n"
    ".globl overlay_handler, overlay_handler_end\n"
    "overlay_handler:	.code16; movl $0xc00000, %ebx; addr32 movl (%ebx), %eax; addr32 movl $0x77777777, 4(%ebx)\n"
    "			outb %al, $0x77; rsm; .code64\n"
    "overlay_handler_end:\n"
    ".popsection");
extern const char overlay_handler[], overlay_handler_end[];

static void guest_reads_overlay(void)
{
	volatile u32 *p = (void *)OVERLAY_GPA;

	GUEST_ASSERT_EQ(p[0], 0x11111111);
	guest_sync(1);
	GUEST_ASSERT_EQ(p[0], 0x11111111);
	GUEST_ASSERT_EQ(p[1], 0);
	guest_done();
}

static u64 dirty_pages(struct vm *vm, u32 slot)
{
	u64 bitmap[SMRAM_SIZE / 4096 / 64 + 1] = { 0 };
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	return bitmap[0];
}

TEST(second_address_space)
{
	struct vm *vm = vm_create(1);
	u8 *smram = smm_prepare(vm, 1), *overlay = host_alloc(4096, 4096);
	struct kvm_regs regs;

	/* Slot 0 of the second space in two parts, the overlay between them. */
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16, 0, 0, 0, NULL), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16, 0, 0, OVERLAY_GPA, vm->mem), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16 | 2, KVM_MEM_LOG_DIRTY_PAGES, OVERLAY_GPA, 4096, overlay), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1 << 16 | 1, KVM_MEM_LOG_DIRTY_PAGES, SMRAM_GPA, SMRAM_SIZE, smram), 0);
	smm_set_handler(smram, overlay_handler, overlay_handler_end);
	*(u32 *)gpa_to_host(vm, OVERLAY_GPA) = 0x11111111;
	*(u32 *)overlay = 0x22222222;
	vcpu_set_long(vm->vcpu, guest_reads_overlay, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(dirty_pages(vm, 1 << 16 | 1), 0);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ((u32)regs.rax, 0x22222222);
	CHECK_EQ(((u32 *)overlay)[1], 0x77777777);
	CHECK_EQ(dirty_pages(vm, 1 << 16 | 1), 1 << 15);
	CHECK_EQ(dirty_pages(vm, 1 << 16 | 2), 1);
	/*
	 * A clock page that the guest's system put there is its own memory, even while the handler
	 * runs.
	 */
	memset(overlay, 0, 4096);
	if (kvm_cap(vm->fd, KVM_CAP_ADJUST_CLOCK) &&
	    vcpu_set_msr(vm->vcpu, MSR_KVM_CLOCK, OVERLAY_GPA | 0x101) == 1) {
		RUN_UNTIL_DONE(vm->vcpu);
		CHECK_EQ(memcmp(overlay + 0x100, overlay + 0x200, 32), 0);
		CHECK(*(u32 *)gpa_to_host(vm, OVERLAY_GPA + 0x118));
	} else {
		RUN_UNTIL_DONE(vm->vcpu);
	}
	vm_destroy(vm);
}

/* Without memory the state has nowhere to go: userspace hears of it, and the vCPU is as it was. */
TEST(smram_nowhere)
{
	struct smm_state before, after;
	u8 *smram;
	struct vm *vm = vm_create(1);

	STRATA_ONLY("the in-tree module kills the VM");
	smram = smm_prepare(vm, 1);
	(void)smram;
	set_loop(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	REQUIRE_EQ(vcpu_set_msr(vm->vcpu, MSR_SMBASE, 0x40000000), 1);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	smm_get_state(vm->vcpu, &before);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	smm_get_state(vm->vcpu, &after);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	REQUIRE_EQ(vcpu_set_msr(vm->vcpu, MSR_SMBASE, SMRAM_GPA), 1);
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	vm_destroy(vm);
}

struct bad_field {
	const char *name;
	unsigned int at, len;
	u64 set;	/* bits to set ... */
	u64 clear;	/* and to clear */
};

static const struct bad_field bad_fields[] = {
	{ "CR0.PG without PE", S64_CR0, 8, 0, CR0_PE },
	{ "CR0.NW without CD", S64_CR0, 8, CR0_NW, CR0_CD },
	{ "CR0 upper half", S64_CR0, 8, 1ull << 32, 0 },
	{ "CR3 beyond the address width", S64_CR3, 8, 1ull << 55, 0 },
	{ "CR4 reserved", S64_CR4, 8, 1ull << 40, 0 },
	{ "long mode without PAE", S64_CR4, 8, 0, CR4_PAE },
	{ "EFER reserved", S64_EFER, 8, 1ull << 40, 0 },
	{ "LMA without LME", S64_EFER, 8, 0, EFER_LME },
	{ "DR7 upper half", S64_DR7, 8, 1ull << 32, 0 },
	{ "DR6 upper half", S64_DR6, 8, 1ull << 32, 0 },
	{ "RIP not canonical", S64_RIP, 8, 1ull << 62, 0 },
	{ "VM in long mode", S64_RFLAGS, 8, 1 << 17, 0 },
	{ "CS not present", S64_CS + 2, 2, 0, 0x80 },
	{ "CS a system segment", S64_CS + 2, 2, 0, 0x10 },
	{ "64-bit CS with D", S64_CS + 2, 2, 0x4000, 0 },
	{ "SS is code", S64_SS + 2, 2, 0x8, 0 },
};

TEST(failed_checks)
{
	unsigned int i;

	STRATA_ONLY("the in-tree module checks less");
	for (i = 0; i < sizeof(bad_fields) / sizeof(bad_fields[0]); i++) {
		const struct bad_field *b = &bad_fields[i];
		struct smm_state before;
		enum run_end end;
		u8 *smram;
		struct vm *vm = vm_in_smm(&smram, &before);
		u64 val = smm_field(smram, SMM_SAVE + b->at, b->len);

		smm_set_field(smram, SMM_SAVE + b->at, b->len, (val | b->set) & ~b->clear);
		end = vcpu_run(vm->vcpu);
		if (end != RUN_OTHER || vm->vcpu->run->exit_reason != KVM_EXIT_SHUTDOWN)
			tap_fail(__FILE__, __LINE__, "%s: end %d exit %u", b->name, end,
				 vm->vcpu->run->exit_reason);
		vm_destroy(vm);
	}
}

static struct vm *stepping_vm(u8 **smram)
{
	const u32 on[] = { STRATA_CAP_EXIT_EACH, KVM_CAP_X86_TRIPLE_FAULT_EVENT };
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct kvm_enable_cap cap = { .cap = on[i], .args = { 1 } };

		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	}
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	*smram = smm_prepare(vm, 1);
	set_loop(vm->vcpu);
	return vm;
}

static void step_until_port(struct vcpu *vcpu, u16 port)
{
	vcpu_run_each(vcpu);
	REQUIRE_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
	REQUIRE_EQ(vcpu->run->io.port, port);
}

TEST(triple_fault_moves)
{
	struct smm_state s, now;
	struct vm *vm, *other;
	u8 *smram, *ram;

	STRATA_ONLY("KVM_RUN stops behind RSM");
	vm = stepping_vm(&smram);
	other = stepping_vm(&ram);
	step_until_port(vm->vcpu, PORT_LOOP);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	step_until_port(vm->vcpu, PORT_SMM);
	smm_set_field(smram, SMM_SAVE + S64_CR4, 8, 1ull << 40);
	do {
		vcpu_run(vm->vcpu);
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
		smm_get_state(vm->vcpu, &s);
	} while (!s.events.triple_fault.pending);
	CHECK_EQ(s.events.smi.smm, 1);
	CHECK_EQ(s.regs.rip, SMM_ENTRY + 2);
	smm_set_state(other->vcpu, &s);
	smm_get_state(other->vcpu, &now);
	CHECK_EQ(memcmp(&s, &now, sizeof(s)), 0);
	RUN_UNTIL(other->vcpu, KVM_EXIT_SHUTDOWN);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(other);
	vm_destroy(vm);
}
