// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the exits of instructions: each that the manual's table of intercepts names and the
 * emulator knows, and neighbours that have none.
 */
#include "arch/x86/svm/nested_decode.h"

#include <asm/svm.h>
#include <check.h>
#include <stdlib.h>

struct row {
	const char *name;
	u8 bytes[8];
	struct svm_insn_exit want;
};

#define CODE(exit)	{ .code = exit }
#define NO		{ .code = SVM_NO_EXIT }
#define PORT(n, imm)	{ .code = SVM_NO_EXIT, .port = n, .port_imm = imm }
#define CR0(sel)	{ .code = SVM_EXIT_WRITE_CR0, .selective = sel }

static const struct row rows[] = {
	{ "mov [rbx], eax", { 0x89, 0x03 }, NO },
	{ "mov eax, [rbx]", { 0x8b, 0x03 }, NO },
	{ "nop", { 0x90 }, NO },
	{ "pause", { 0xf3, 0x90 }, CODE(SVM_EXIT_PAUSE) },
	{ "pushf", { 0x9c }, CODE(SVM_EXIT_PUSHF) },
	{ "popf", { 0x9d }, CODE(SVM_EXIT_POPF) },
	{ "int3", { 0xcc }, NO },
	{ "int 0x80", { 0xcd, 0x80 }, CODE(SVM_EXIT_SWINT) },
	{ "iretq", { 0x48, 0xcf }, CODE(SVM_EXIT_IRET) },
	{ "int1", { 0xf1 }, CODE(SVM_EXIT_ICEBP) },
	{ "hlt", { 0xf4 }, CODE(SVM_EXIT_HLT) },
	{ "insb", { 0x6c }, PORT(1, false) },
	{ "insw", { 0x66, 0x6d }, PORT(2, false) },
	{ "outsb", { 0x6e }, PORT(1, false) },
	{ "rep outsd", { 0xf3, 0x6f }, PORT(4, false) },
	{ "in al, 5", { 0xe4, 5 }, PORT(1, true) },
	{ "in eax, 5", { 0xe5, 5 }, PORT(4, true) },
	{ "out 5, al", { 0xe6, 5 }, PORT(1, true) },
	{ "out 5, ax", { 0x66, 0xe7, 5 }, PORT(2, true) },
	{ "in al, dx", { 0xec }, PORT(1, false) },
	{ "in eax, dx with REX.W", { 0x48, 0xed }, PORT(4, false) },
	{ "out dx, al", { 0xee }, PORT(1, false) },
	{ "out dx, ax", { 0x66, 0xef }, PORT(2, false) },
	{ "jmp", { 0xe9, 0, 0, 0, 0 }, NO },
	{ "sldt ax", { 0x0f, 0x00, 0xc0 }, CODE(SVM_EXIT_LDTR_READ) },
	{ "str [rbx]", { 0x0f, 0x00, 0x0b }, CODE(SVM_EXIT_TR_READ) },
	{ "lldt ax", { 0x0f, 0x00, 0xd0 }, CODE(SVM_EXIT_LDTR_WRITE) },
	{ "ltr [rbx]", { 0x0f, 0x00, 0x1b }, CODE(SVM_EXIT_TR_WRITE) },
	{ "verr ax", { 0x0f, 0x00, 0xe0 }, NO },
	{ "sgdt", { 0x0f, 0x01, 0x03 }, CODE(SVM_EXIT_GDTR_READ) },
	{ "sidt", { 0x0f, 0x01, 0x0b }, CODE(SVM_EXIT_IDTR_READ) },
	{ "lgdt", { 0x0f, 0x01, 0x13 }, CODE(SVM_EXIT_GDTR_WRITE) },
	{ "lidt", { 0x0f, 0x01, 0x1b }, CODE(SVM_EXIT_IDTR_WRITE) },
	{ "smsw [rbx]", { 0x0f, 0x01, 0x23 }, CODE(SVM_EXIT_READ_CR0) },
	{ "smsw eax", { 0x0f, 0x01, 0xe0 }, CODE(SVM_EXIT_READ_CR0) },
	{ "lmsw [rbx]", { 0x0f, 0x01, 0x33 }, CR0(false) },
	{ "lmsw ax", { 0x0f, 0x01, 0xf0 }, CR0(true) },
	{ "invlpg", { 0x0f, 0x01, 0x3b }, CODE(SVM_EXIT_INVLPG) },
	{ "clts", { 0x0f, 0x06 }, CR0(false) },
	{ "invd", { 0x0f, 0x08 }, CODE(SVM_EXIT_INVD) },
	{ "wbinvd", { 0x0f, 0x09 }, CODE(SVM_EXIT_WBINVD) },
	{ "mov rax, cr0", { 0x0f, 0x20, 0xc0 }, CODE(SVM_EXIT_READ_CR0) },
	{ "mov rax, cr2", { 0x0f, 0x20, 0xd0 }, CODE(SVM_EXIT_READ_CR0 + 2) },
	{ "mov rax, cr8", { 0x44, 0x0f, 0x20, 0xc0 }, CODE(SVM_EXIT_READ_CR8) },
	{ "lock mov rax, cr0", { 0xf0, 0x0f, 0x20, 0xc0 }, CODE(SVM_EXIT_READ_CR8) },
	{ "mov cr0, rax", { 0x0f, 0x22, 0xc0 }, CR0(true) },
	{ "mov cr3, rax", { 0x0f, 0x22, 0xd8 }, CODE(SVM_EXIT_WRITE_CR3) },
	{ "mov cr4, rax", { 0x0f, 0x22, 0xe0 }, CODE(SVM_EXIT_WRITE_CR4) },
	{ "mov rax, dr6", { 0x0f, 0x21, 0xf0 }, CODE(SVM_EXIT_READ_DR6) },
	{ "mov dr7, rax", { 0x0f, 0x23, 0xf8 }, CODE(SVM_EXIT_WRITE_DR7) },
	{ "rdtsc", { 0x0f, 0x31 }, CODE(SVM_EXIT_RDTSC) },
	{ "rdpmc", { 0x0f, 0x33 }, CODE(SVM_EXIT_RDPMC) },
	{ "rdtscp", { 0x0f, 0x01, 0xf9 }, CODE(SVM_EXIT_RDTSCP) },
	{ "xsetbv", { 0x0f, 0x01, 0xd1 }, CODE(SVM_EXIT_XSETBV) },
	{ "xgetbv", { 0x0f, 0x01, 0xd0 }, NO },
	{ "vmmcall", { 0x0f, 0x01, 0xd9 }, CODE(SVM_EXIT_VMMCALL) },
	{ "cpuid", { 0x0f, 0xa2 }, CODE(SVM_EXIT_CPUID) },
	{ "rsm", { 0x0f, 0xaa }, CODE(SVM_EXIT_RSM) },
	{ "movzx eax, byte [rbx]", { 0x0f, 0xb6, 0x03 }, NO },
	{ "vpcmpgtb with CPUID's opcode", { 0xc5, 0xf9, 0x6c, 0xc0 }, NO },
};

START_TEST(row)
{
	const struct row *r = &rows[_i];
	struct svm_insn_exit got;
	struct emu_insn insn;

	ck_assert_msg(emu_decode(&insn, r->bytes, sizeof(r->bytes), EMU_MODE_64) == 0,
		      "%s: not decoded", r->name);
	svm_insn_exit(&insn, &got);
	ck_assert_msg(got.code == r->want.code, "%s: exit %#x, not %#x", r->name, got.code,
		      r->want.code);
	ck_assert_msg(got.port == r->want.port && got.port_imm == r->want.port_imm, "%s: port",
		      r->name);
	ck_assert_msg(got.selective == r->want.selective, "%s: selective", r->name);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("svm_decode");
	TCase *t = tcase_create("exits");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, row, 0, sizeof(rows) / sizeof(rows[0]));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
