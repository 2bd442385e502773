// SPDX-License-Identifier: GPL-2.0
/*
 * What: what the CPU tells a guest hypervisor (L1) about the instruction that exited: next-RIP
 * save. The PAUSE filter.
 * Conditions: guests are offered SVM and the feature.
 * Expected: as on bare hardware.
 */
#include "svm.h"

#define ICPT_INVLPG	0x79
#define ICPT_PAUSE	0x77
#define ICPT_SWINT	0x75

/* L2 is one instruction; L1 steps over it by what it was told. */
struct insn {
	u64 code;
	u8 len, bytes[8];
};

static const struct insn insns[] = {
	{ 0x10, 3, { 0x0f, 0x22, 0xc3 } },			/* mov %rbx, %cr0 */
	{ 0x13, 3, { 0x0f, 0x22, 0xd9 } },			/* mov %rcx, %cr3 */
	{ 0x14, 4, { 0x41, 0x0f, 0x22, 0xe1 } },		/* mov %r9, %cr4 */
	{ 0x03, 3, { 0x0f, 0x20, 0xda } },			/* mov %cr3, %rdx */
	{ 0x00, 4, { 0x41, 0x0f, 0x20, 0xc7 } },		/* mov %cr0, %r15 */
	{ 0x32, 3, { 0x0f, 0x23, 0xd6 } },			/* mov %rsi, %dr2 */
	{ 0x27, 4, { 0x41, 0x0f, 0x21, 0xfc } },			/* mov %dr7, %r12 */
	{ ICPT_SWINT, 2, { 0xcd, 0x83 } },			/* int $0x83 */
	{ ICPT_INVLPG, 3, { 0x0f, 0x01, 0x3f } },		/* invlpg (%rdi) */
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
	GUEST_ASSERT_EQ(svm_vmcb.next_rip, at + i->len);
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
	svm_run_with(guest_next_rip, SVM_FEATURE_NRIPS);
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
	svm_run_with(guest_pauses, SVM_FEATURE_PAUSE);
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
	need_svm();
	if (svm_features() & SVM_FEATURE_PAUSE)
		tap_skip("there is a filter");
	svm_run_with(guest_each_pause, ~0u);
}
