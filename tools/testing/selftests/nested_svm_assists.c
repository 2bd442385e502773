// SPDX-License-Identifier: GPL-2.0
/*
 * What: what the CPU tells a guest hypervisor (L1) about the instruction that exited: next-RIP save, decode assists; also where the exit is one that
 * L0's emulation of L2 met. The PAUSE filter.
 * Conditions: guests are offered SVM and the feature.
 * Expected: as on bare hardware.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "npt.h"

#define ICPT_INVLPG	0x79
#define ICPT_PAUSE	0x77
#define ICPT_SWINT	0x75
#define MOV_CR		(1ull << 63)
#define MMIO_GPA	0xd0000000ull

static u64 has_nrips;

static struct vm *create(void *fn, u32 feature)
{
	struct vm *vm;

	need_npt();
	if (!(svm_features() & feature))
		tap_skip("the feature is not offered");
	vm = vm_create(1);
	*guest_var(vm, &has_nrips) = !!(svm_features() & SVM_FEATURE_NRIPS);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void run(void *fn, u32 feature)
{
	struct vm *vm = create(fn, feature);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* L2 is one instruction; L1 steps over it by what it was told. */
struct insn {
	u64 code, info;
	u8 len, bytes[8];
};

static const struct insn insns[] = {
	{ 0x10, MOV_CR | 3, 3, { 0x0f, 0x22, 0xc3 } },			/* mov %rbx, %cr0 */
	{ 0x13, MOV_CR | 1, 3, { 0x0f, 0x22, 0xd9 } },			/* mov %rcx, %cr3 */
	{ 0x14, MOV_CR | 9, 4, { 0x41, 0x0f, 0x22, 0xe1 } },		/* mov %r9, %cr4 */
	{ 0x03, MOV_CR | 2, 3, { 0x0f, 0x20, 0xda } },			/* mov %cr3, %rdx */
	{ 0x00, MOV_CR | 15, 4, { 0x41, 0x0f, 0x20, 0xc7 } },		/* mov %cr0, %r15 */
	{ 0x32, 6, 3, { 0x0f, 0x23, 0xd6 } },				/* mov %rsi, %dr2 */
	{ 0x27, 12, 4, { 0x41, 0x0f, 0x21, 0xfc } },			/* mov %dr7, %r12 */
	{ ICPT_SWINT, 0x83, 2, { 0xcd, 0x83 } },			/* int $0x83 */
	{ ICPT_INVLPG, 0x12345678, 3, { 0x0f, 0x01, 0x3f } },		/* invlpg (%rdi) */
};

static u8 code[64] __attribute__((aligned(64)));

static void place(const struct insn *i)
{
	volatile u8 *p = code;
	unsigned int n;

	for (n = 0; n < sizeof(code); n++)
		p[n] = n < i->len ? i->bytes[n] : 0x90;
	svm_guest_restart((void *)code);
}

static void run_insn(const struct insn *i)
{
	u64 at = (u64)code;

	place(i);
	svm_intercept(&svm_vmcb, i->code, true);
	/* RBX, RCX, R9, RSI, RDI: what the registers would take */
	svm_gprs[0] = read_cr0();
	svm_gprs[1] = read_cr3();
	svm_gprs[7] = read_cr4();
	svm_gprs[4] = 0;
	svm_gprs[5] = 0x12345678;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), i->code);
	svm_intercept(&svm_vmcb, i->code, false);
	GUEST_ASSERT_EQ(svm_vmcb.rip, at);
	if (has_nrips)
		GUEST_ASSERT_EQ(svm_vmcb.next_rip, at + i->len);
}

static void guest_operands(void)
{
	u64 i;

	svm_guest_init((void *)code);
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		run_insn(&insns[i]);
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, insns[i].info);
	}
	guest_done();
}

TEST(operands)
{
	run(guest_operands, SVM_FEATURE_DECODE);
}

static void guest_next_rip(void)
{
	u64 i;

	svm_guest_init((void *)code);
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++)
		run_insn(&insns[i]);
	guest_done();
}

TEST(next_rip)
{
	run(guest_next_rip, SVM_FEATURE_NRIPS);
}

/* ---- instruction bytes ---- */

static struct npt npt;

static void expect_bytes(const u8 *bytes, unsigned int len)
{
	unsigned int i;

	GUEST_ASSERT(svm_vmcb.insn_len >= len && svm_vmcb.insn_len <= 15);
	for (i = 0; i < len; i++)
		GUEST_ASSERT_EQ(svm_vmcb.insn_bytes[i], bytes[i]);
}

static const struct insn load = { .len = 7, .bytes = { 0x48, 0x8b, 0x87, 0x10, 0, 0, 0 } };	/* mov 0x10(%rdi), %rax */

static void guest_bytes(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	/* The CPU's own: nested page fault, and page fault */
	place(&load);
	svm_gprs[5] = NPT_PLAY;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY + 0x10);
	expect_bytes(load.bytes, load.len);
	place(&load);
	svm_vmcb.intercept[2] = 1u << PF_VECTOR;
	svm_gprs[5] = 0x200000000ull;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, 0x200000010ull);
	expect_bytes(load.bytes, load.len);
	/* Another exit has none. */
	place(&insns[7]);
	svm_intercept(&svm_vmcb, ICPT_SWINT, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), ICPT_SWINT);
	guest_done();
}

TEST(bytes)
{
	run(guest_bytes, SVM_FEATURE_DECODE);
}

/* Faults that L0 finds while it does what L2 asked for: OUTS, which exits before it reads; MOVS from a device to nowhere. */
static const struct insn outs = { .len = 1, .bytes = { 0x6e } };
static const struct insn movs = { .len = 2, .bytes = { 0x48, 0xa5 } };

static void guest_emulated(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	place(&outs);
	svm_gprs[2] = 0x80;		/* RDX */
	svm_gprs[4] = NPT_PLAY;		/* RSI */
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | NPF_FINAL);
	GUEST_ASSERT_EQ(svm_vmcb.rip, (u64)code);
	expect_bytes(outs.bytes, outs.len);
	npt_set(&npt, NPT_PLAY + 0x1000, 1, MMIO_GPA | NPT_RWX);
	place(&movs);
	svm_gprs[4] = NPT_PLAY + 0x1000;
	svm_gprs[5] = NPT_PLAY + 0x2000;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY + 0x2000);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_FINAL);
	expect_bytes(movs.bytes, movs.len);
	guest_done();
}

TEST(bytes_of_emulation)
{
	struct vm *vm = create(guest_emulated, SVM_FEATURE_DECODE);
	enum run_end end;

	/* The device's byte may be read for nothing. */
	while ((end = vcpu_run(vm->vcpu)) == RUN_OTHER && vm->vcpu->run->exit_reason == KVM_EXIT_MMIO)
		CHECK_EQ(vm->vcpu->run->mmio.phys_addr, MMIO_GPA);
	CHECK_EQ(end, RUN_DONE);
	vm_destroy(vm);
}

/* ---- the PAUSE filter ---- */

static volatile u64 pauses;

static void l2_pause(void)
{
	for (;;) {
		pauses++;
		guest_pause();
	}
}

static void pause_until_exit(u64 count, u64 least, u64 most)
{
	pauses = 0;
	svm_guest_restart(l2_pause);
	svm_vmcb.pause_count = count;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), ICPT_PAUSE);
	GUEST_ASSERT(pauses >= least && pauses <= most);
}

static void guest_pauses(void)
{
	svm_guest_init(l2_pause);
	svm_intercept(&svm_vmcb, ICPT_PAUSE, true);
	pause_until_exit(0, 1, 1);
	pause_until_exit(5, 5, 7);
	pause_until_exit(200, 200, 202);
	guest_done();
}

TEST(pause_filter)
{
	run(guest_pauses, SVM_FEATURE_PAUSE);
}

/* Without the filter each PAUSE exits, whatever the field says. */
static void guest_each_pause(void)
{
	svm_guest_init(l2_pause);
	svm_intercept(&svm_vmcb, ICPT_PAUSE, true);
	pause_until_exit(200, 1, 1);
	guest_done();
}

TEST(pause_without_filter)
{
	need_npt();
	if (svm_features() & SVM_FEATURE_PAUSE)
		tap_skip("there is a filter");
	run(guest_each_pause, ~0u);
}
