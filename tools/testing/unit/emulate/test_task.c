// SPDX-License-Identifier: GPL-2.0
/*
 * Task switches: 16-bit and 32-bit TSS, by JMP, CALL, IRET and task gate, and what goes wrong
 * before and after the switch is committed.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define NT	0x4000u
#define BUSY	2u

static struct emu start, e;

/* What the emulation under way was asked for */
static struct {
	u16 sel;
	enum emu_task_reason reason;
	bool has_error;
	u32 error;
} asked;

static enum emu_status do_switch(struct emu *emu)
{
	return emulate_task_switch(emu, asked.sel, asked.reason, asked.has_error, asked.error);
}

static enum emu_status switch_to(u16 sel, enum emu_task_reason reason)
{
	asked.sel = sel;
	asked.reason = reason;
	return machine_run(&world, &e, &start, do_switch);
}

static void fresh(void)
{
	world_init(&start, PROT);
	start.regs.rip = CODE + 7;
	start.regs.gpr[0] = 0xaaaa5555;
	asked.has_error = false;
	asked.error = 0;
}

static unsigned int tss_type(u16 sel)
{
	return world_get(GDT + sel + 5, 1) & 0xf;
}

static void check_saved_32(u32 flags)
{
	ck_assert_uint_eq(world_get(TSS_A + 32, 4), CODE + 7);
	ck_assert_uint_eq(world_get(TSS_A + 36, 4), flags);
	ck_assert_uint_eq(world_get(TSS_A + 40, 4), 0xaaaa5555);
	ck_assert_uint_eq(world_get(TSS_A + 56, 4), STACK);
	ck_assert_uint_eq(world_get(TSS_A + 76, 2), SEL_CODE);
	ck_assert_uint_eq(world_get(TSS_A + 80, 2), SEL_DATA);
}

static void check_in_b(void)
{
	ck_assert_uint_eq(e.regs.rip, CODE + 0x100);
	ck_assert_uint_eq(e.regs.gpr[0], 0xb0000000);
	ck_assert_uint_eq(e.regs.gpr[7], 0xb0000007);
	ck_assert_uint_eq(e.regs.cr3, 0x9000);
	ck_assert_uint_eq(e.regs.cr0 & 8, 8);
	ck_assert_uint_eq(e.regs.seg[EMU_TR].selector, SEL_TSS_B);
	ck_assert_uint_eq(e.regs.seg[EMU_TR].base, TSS_B);
	ck_assert_uint_eq(e.regs.seg[EMU_TR].type, 11);
	ck_assert_uint_eq(e.regs.seg[EMU_LDTR].base, LDT);
	ck_assert_uint_eq(e.regs.seg[EMU_CS].selector, SEL_CODE);
	ck_assert_uint_eq(e.regs.seg[EMU_FS].unusable, 1);
	ck_assert(e.committed);
}

START_TEST(jmp_32)
{
	fresh();
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_OK);
	check_saved_32(0x202);
	check_in_b();
	ck_assert_uint_eq(e.regs.rflags, 0x202);
	ck_assert_uint_eq(e.regs.gpr[4], STACK - 0x100);
	ck_assert_uint_eq(tss_type(SEL_TSS_A), 9);
	ck_assert_uint_eq(tss_type(SEL_TSS_B), 9 | BUSY);
	ck_assert_uint_eq(world_get(TSS_B, 2), 0);
}
END_TEST

/* The old TSS lies across the end of 4 GB; what is saved lies there, too, or behind it */
START_TEST(wraps)
{
	static const u32 base[] = { 0xffffffc0, 0xfffffff0 };
	u32 at = base[_i] + 32;

	fresh();
	start.regs.seg[EMU_TR].base = base[_i];
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_OK);
	check_in_b();
	ck_assert_uint_eq(world_get(at, 4), CODE + 7);
	ck_assert_uint_eq(world_get(at + 8, 4), 0xaaaa5555);
	ck_assert_uint_eq(world_get(base[_i] + 80, 2), SEL_DATA);
}
END_TEST

START_TEST(call_32)
{
	fresh();
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_CALL), EMU_OK);
	check_saved_32(0x202);
	check_in_b();
	ck_assert_uint_eq(e.regs.rflags, 0x202 | NT);
	ck_assert_uint_eq(tss_type(SEL_TSS_A), 9 | BUSY);
	ck_assert_uint_eq(tss_type(SEL_TSS_B), 9 | BUSY);
	ck_assert_uint_eq(world_get(TSS_B, 2), SEL_TSS_A);
}
END_TEST

START_TEST(gate_with_error)
{
	fresh();
	asked.has_error = true;
	asked.error = 0x1234;
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_GATE), EMU_OK);
	ck_assert_uint_eq(e.regs.gpr[4], STACK - 0x104);
	ck_assert_uint_eq(world_get(STACK - 0x104, 4), 0x1234);
	ck_assert_uint_eq(e.regs.rflags, 0x202 | NT);
}
END_TEST

START_TEST(call_16)
{
	fresh();
	asked.has_error = true;
	asked.error = 0x77;
	ck_assert_int_eq(switch_to(SEL_TSS_C, EMU_TASK_CALL), EMU_OK);
	check_saved_32(0x202);
	ck_assert_uint_eq(e.regs.rip, CODE + 0x100);
	ck_assert_uint_eq(e.regs.gpr[0], 0xc000);
	ck_assert_uint_eq(e.regs.cr3, 0);
	ck_assert_uint_eq(e.regs.gpr[4], STACK - 0x102);
	ck_assert_uint_eq(world_get(STACK - 0x102, 2), 0x77);
	ck_assert_uint_eq(e.regs.seg[EMU_FS].unusable, 1);
	ck_assert_uint_eq(world_get(TSS_C, 2), SEL_TSS_A);
	ck_assert_uint_eq(tss_type(SEL_TSS_C), 1 | BUSY);
}
END_TEST

/* CALL, then IRET by NT: back where it began */
START_TEST(there_and_back)
{
	fresh();
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_CALL), EMU_OK);
	world_put(CODE + 0x100, 1, 0xcf);
	start.regs = e.regs;
	start.cpl = e.cpl;
	ck_assert_int_eq(machine_run(&world, &e, &start, emulate), EMU_OK);
	ck_assert_uint_eq(e.regs.rip, CODE + 7);
	ck_assert_uint_eq(e.regs.gpr[0], 0xaaaa5555);
	ck_assert_uint_eq(e.regs.rflags, 0x202);
	ck_assert_uint_eq(e.regs.seg[EMU_TR].selector, SEL_TSS_A);
	ck_assert_uint_eq(tss_type(SEL_TSS_B), 9);
	ck_assert_uint_eq(tss_type(SEL_TSS_A), 9 | BUSY);
	ck_assert_uint_eq(world_get(TSS_B + 32, 4), CODE + 0x101);
	ck_assert_uint_eq(world_get(TSS_B + 36, 4) & NT, 0);
	ck_assert(e.unmask_nmi);
}
END_TEST

/* By instructions: JMP to the TSS, CALL through the task gate */
START_TEST(by_instruction)
{
	static const u8 jmp[] = { 0xea, 0, 0, 0, 0, SEL_TSS_B, 0 };
	static const u8 call[] = { 0x9a, 0, 0, 0, 0, SEL_TASK_GATE, 0 };

	fresh();
	start.regs.rip = CODE;
	memcpy(machine_at(&world, CODE, 7), _i ? call : jmp, 7);
	ck_assert_int_eq(machine_run(&world, &e, &start, emulate), EMU_OK);
	check_saved_32(0x202);
	check_in_b();
	ck_assert_uint_eq(world_get(TSS_B, 2), _i ? SEL_TSS_A : 0);
}
END_TEST

/* The machine does not want the emulator to do it: nothing has happened. */
START_TEST(not_by_instruction)
{
	static const struct {
		u8 code[7];
		enum emu_task_reason reason;
	} row[] = {
		{ { 0xea, 0, 0, 0, 0, SEL_TSS_B, 0 }, EMU_TASK_JMP },
		{ { 0x9a, 0, 0, 0, 0, SEL_TASK_GATE, 0 }, EMU_TASK_CALL },
		{ { 0xcf }, EMU_TASK_IRET },
	};

	fresh();
	start.regs.rip = CODE;
	if (row[_i].reason == EMU_TASK_IRET)
		start.regs.rflags |= NT;
	memcpy(machine_at(&world, CODE, 7), row[_i].code, 7);
	world.task_status = EMU_RETRY;
	ck_assert_int_eq(machine_run(&world, &e, &start, emulate), EMU_RETRY);
	ck_assert_int_eq(world.task_reason, row[_i].reason);
	ck_assert_uint_eq(e.regs.rip, CODE);
	ck_assert(!e.committed);
	ck_assert_uint_eq(tss_type(SEL_TSS_B) & BUSY, 0);
	ck_assert_uint_eq(world_get(TSS_A + 32, 4), 0);
}
END_TEST

/* Outgoing from a 16-bit TSS */
START_TEST(from_16)
{
	fresh();
	start.regs.seg[EMU_TR] = (struct emu_seg){
		.selector = SEL_TSS_C, .base = TSS_C, .limit = 0x2b, .type = 3, .p = 1,
	};
	world_put(GDT + SEL_TSS_C + 5, 1, 0x83);
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_OK);
	check_in_b();
	ck_assert_uint_eq(world_get(TSS_C + 14, 2), CODE + 7);
	ck_assert_uint_eq(world_get(TSS_C + 18, 2), 0x5555);
	ck_assert_uint_eq(world_get(TSS_C + 40, 2), SEL_DATA);
	ck_assert_uint_eq(world_get(TSS_C + 42, 2), 0);
	ck_assert_uint_eq(tss_type(SEL_TSS_C), 1);
}
END_TEST

START_TEST(to_v86)
{
	fresh();
	world_put(TSS_B + 36, 4, 0x23202);
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_OK);
	ck_assert_uint_eq(e.cpl, 3);
	ck_assert_uint_eq(e.regs.seg[EMU_CS].base, SEL_CODE << 4);
	ck_assert_uint_eq(e.regs.seg[EMU_CS].limit, 0xffff);
	ck_assert_uint_eq(e.regs.seg[EMU_FS].unusable, 0);
}
END_TEST

/* Local breakpoints go, global ones stay */
START_TEST(breakpoints)
{
	fresh();
	world.dr[7] = 0x4ff;
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_OK);
	ck_assert_uint_eq(world.dr[7], 0x4aa);
}
END_TEST

/* A change of memory, and the fault that comes of it */
struct bad {
	const char *name;
	enum emu_task_reason reason;
	u16 sel;
	u64 addr;
	u8 len;
	u64 val;
	u8 vector;
	u32 error;
	bool committed;
};

static const struct bad bads[] = {
	{ "null", EMU_TASK_JMP, 0, 0, 0, 0, 13, 0, false },
	{ "LDT", EMU_TASK_JMP, SEL_TSS_B | 4, 0, 0, 0, 13, SEL_TSS_B | 4, false },
	{ "no TSS", EMU_TASK_JMP, SEL_DATA, 0, 0, 0, 13, SEL_DATA, false },
	{ "busy", EMU_TASK_CALL, SEL_TSS_A, 0, 0, 0, 13, SEL_TSS_A, false },
	{ "IRET to one not busy", EMU_TASK_IRET, SEL_TSS_B, 0, 0, 0, 10, SEL_TSS_B, false },
	{ "not present", EMU_TASK_JMP, SEL_TSS_B, GDT + SEL_TSS_B + 5, 1, 0x09, 11, SEL_TSS_B,
	  false },
	{ "too short", EMU_TASK_JMP, SEL_TSS_B, GDT + SEL_TSS_B, 2, 0x66, 10, SEL_TSS_B, false },
	{ "16-bit too short", EMU_TASK_JMP, SEL_TSS_C, GDT + SEL_TSS_C, 2, 0x2a, 10, SEL_TSS_C,
	  false },
	{ "not mapped", EMU_TASK_JMP, SEL_TSS_B, GDT + SEL_TSS_B + 4, 1, 0x50, 14, 0, false },
	{ "bad LDT", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 96, 2, SEL_DATA, 10, SEL_DATA, true },
	{ "CS null", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 76, 2, 0, 10, 0, true },
	{ "CS data", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 76, 2, SEL_DATA, 10, SEL_DATA, true },
	{ "CS of another level", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 76, 2, SEL_CODE | 3, 10, SEL_CODE,
	  true },
	{ "CS not present", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 76, 2, SEL_ABSENT_CODE, 11,
	  SEL_ABSENT_CODE, true },
	{ "SS null", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 80, 2, 0, 10, 0, true },
	{ "SS not present", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 80, 2, SEL_ABSENT, 12, SEL_ABSENT,
	  true },
	{ "DS execute-only", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 84, 2, SEL_EXEC_ONLY, 10,
	  SEL_EXEC_ONLY, true },
	{ "ES not present", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 72, 2, SEL_ABSENT, 11, SEL_ABSENT,
	  true },
	{ "GS beyond the GDT", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 92, 2, 0xf8, 10, 0xf8, true },
	{ "EIP beyond the limit", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 76, 2, SEL_SMALL, 13, 0, true },
	{ "debug trap", EMU_TASK_JMP, SEL_TSS_B, TSS_B + 100, 2, 1, 1, 0, true },
};

START_TEST(faults)
{
	const struct bad *bad = &bads[_i];

	fresh();
	if (bad->len)
		world_put(bad->addr, bad->len, bad->val);
	ck_assert_msg(switch_to(bad->sel, bad->reason) == EMU_FAULT, "%s: no fault", bad->name);
	ck_assert_msg(e.exc.vector == bad->vector && e.exc.error == bad->error,
		      "%s: vector %u error %x", bad->name, e.exc.vector, e.exc.error);
	ck_assert_msg(e.committed == bad->committed, "%s: committed %d", bad->name, e.committed);
	if (bad->committed)
		ck_assert_uint_eq(e.regs.rip, CODE + 0x100);
	else
		ck_assert_mem_eq(&e.regs, &start.regs, sizeof(e.regs));
	if (bad->vector == 1)
		ck_assert_uint_eq(e.exc.payload, 0x8000);
}
END_TEST

/*
 * EMU_IO at each callback until the switch is committed: the same in the end. Afterwards it
 * cannot be taken back.
 */
START_TEST(replay)
{
	unsigned int steps, commit = 0, k;
	struct emu want;
	enum emu_status st;

	fresh();
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_CALL), EMU_OK);
	want = e;
	steps = world.nr_steps;
	for (k = 0; k < steps && !commit; k++) {
		if (!strcmp(world.step[k].op, "set_cr"))
			commit = k + 1;
	}
	ck_assert_uint_gt(commit, 4);
	for (k = 1; k <= steps; k++) {
		fresh();
		world.stop_at = k;
		st = switch_to(SEL_TSS_B, EMU_TASK_CALL);
		ck_assert_int_eq(st, k <= commit ? EMU_OK : EMU_UNHANDLEABLE);
		if (st == EMU_OK)
			ck_assert_mem_eq(&e.regs, &want.regs, sizeof(e.regs));
	}
}
END_TEST

START_TEST(not_in_long_mode)
{
	world_init(&start, COMPAT);
	ck_assert_int_eq(switch_to(SEL_TSS_B, EMU_TASK_JMP), EMU_UNHANDLEABLE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate: task switches");
	TCase *t = tcase_create("task");
	SRunner *r;
	int failed;

	tcase_add_test(t, jmp_32);
	tcase_add_loop_test(t, wraps, 0, 2);
	tcase_add_test(t, call_32);
	tcase_add_test(t, gate_with_error);
	tcase_add_test(t, call_16);
	tcase_add_test(t, there_and_back);
	tcase_add_loop_test(t, by_instruction, 0, 2);
	tcase_add_loop_test(t, not_by_instruction, 0, 3);
	tcase_add_test(t, from_16);
	tcase_add_test(t, to_v86);
	tcase_add_test(t, breakpoints);
	tcase_add_loop_test(t, faults, 0, (int)(sizeof(bads) / sizeof(bads[0])));
	tcase_add_test(t, replay);
	tcase_add_test(t, not_in_long_mode);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
