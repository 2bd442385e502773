// SPDX-License-Identifier: GPL-2.0
/*
 * What: an instruction of L2 that userspace puts in the place of another one while it serves that
 * one's MMIO access: the emulator goes on with what is there now.
 * Conditions: guests are offered SVM.
 * Expected: L1 has its exit if it intercepts the new instruction; if it does not the instruction is
 * executed.
 */
#include <string.h>

#include "svm.h"

#define MMIO_GPA	0x20000000ull
#define PORT		0x80

#define ICPT_IOIO	0x7b

/* Three bytes: MOV EAX, [RBX + 0] */
extern u8 patch_here[];

static void l2_mmio(void)
{
	asm volatile("mov %0, %%ebx; mov %1, %%edx; mov $0x80050033, %%eax; mov $0x1234, %%ecx; push $2;"
		     "patch_here: .byte 0x8b, 0x43, 0x00; vmmcall"
		     : : "i"((u32)MMIO_GPA), "i"(PORT) : "rax", "rbx", "rcx", "rdx", "memory");
}

/* What is put there, and the intercept that L1 sets */
static const struct rewrite {
	const char *name;
	u8 bytes[3];
	u8 intercept;
} rewrites[] = {
	{ "cpuid", { 0x0f, 0xa2, 0x90 }, 0x72 },
	{ "rdtsc", { 0x0f, 0x31, 0x90 }, 0x6e },
	{ "pushf", { 0x9c, 0x90, 0x90 }, 0x70 },
	{ "popf", { 0x9d, 0x90, 0x90 }, 0x71 },
	{ "in al, dx", { 0xec, 0x90, 0x90 }, ICPT_IOIO },
	{ "in al, imm8", { 0xe4, PORT, 0x90 }, ICPT_IOIO },
	{ "out dx, al", { 0xee, 0x90, 0x90 }, ICPT_IOIO },
	{ "clts", { 0x0f, 0x06, 0x90 }, 0x10 },
	{ "mov rax, cr0", { 0x0f, 0x20, 0xc0 }, 0x00 },
	{ "mov rax, cr3", { 0x0f, 0x20, 0xd8 }, 0x03 },
	{ "mov cr0, rax", { 0x0f, 0x22, 0xc0 }, 0x10 },
	{ "lmsw ax", { 0x0f, 0x01, 0xf0 }, 0x10 },
	{ "mov rax, dr7", { 0x0f, 0x21, 0xf8 }, 0x27 },
	{ "wbinvd", { 0x0f, 0x09, 0x90 }, 0x89 },
	{ "str ax", { 0x0f, 0x00, 0xc8 }, 0x69 },
	{ "smsw ax", { 0x0f, 0x01, 0xe0 }, 0x00 },
};

#define INTERCEPT	0x100

/* L1: one entry of L2, with the intercept of a row of rewrites[] or without */
static void guest_enter(u64 arg)
{
	svm_guest_init(l2_mmio);
	if (arg & INTERCEPT)
		svm_intercept(&svm_vmcb, rewrites[arg & 0xff].intercept, true);
	svm_iopm[PORT / 8] |= 1 << PORT % 8;
	guest_sync(svm_vmrun(&svm_vmcb));
	guest_sync(svm_vmcb.rip - (u64)patch_here);
	guest_done();
}

static void rewrite_one(unsigned int nr, bool intercept)
{
	const struct rewrite *r = &rewrites[nr];
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 want = intercept ? r->intercept : ICPT_VMMCALL;

	vcpu_set_long(vcpu, guest_enter, nr | (intercept ? INTERCEPT : 0));
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	REQUIRE_EQ(vcpu->run->mmio.phys_addr, MMIO_GPA);
	memcpy(guest_var(vm, (u8 *)patch_here), r->bytes, sizeof(r->bytes));
	memset(vcpu->run->mmio.data, 0, sizeof(vcpu->run->mmio.data));
	REQUIRE_EQ(vcpu_run(vcpu), RUN_SYNC);
	if (vcpu_sync_value(vcpu) != want)
		tap_note("%s, %sintercepted", r->name, intercept ? "" : "not ");
	CHECK_EQ(vcpu_sync_value(vcpu), want);
	CHECK_EQ(vcpu_run(vcpu), RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vcpu), intercept ? 0 : 3);
	vm_destroy(vm);
}

TEST(l1_has_its_exit)
{
	unsigned int i;

	need_svm();
	for (i = 0; i < sizeof(rewrites) / sizeof(rewrites[0]); i++)
		rewrite_one(i, true);
}

TEST(l1_does_not_care)
{
	unsigned int i;

	need_svm();
	for (i = 0; i < sizeof(rewrites) / sizeof(rewrites[0]); i++) {
		/*
		 * A port access after the MMIO access is two accesses of one instruction, which
		 * nothing has.
		 */
		if (rewrites[i].intercept != ICPT_IOIO)
			rewrite_one(i, false);
	}
}
