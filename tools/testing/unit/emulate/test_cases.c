// SPDX-License-Identifier: GPL-2.0
/*
 * System instructions, faults and replay, by table.
 *
 * Each row is an instruction in a mode with what it changes or raises.  Every row is then run
 * again with EMU_IO at each of its callbacks in turn (the result must be the same), and with a
 * page fault there (no register may have changed).
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A register field with a value */
struct field {
	u16 off;
	u8 size;
	u64 val;
};

#define R(f, v)	{ offsetof(struct emu_regs, f), sizeof(((struct emu_regs *)0)->f), v }
#define RAX	gpr[0]
#define RCX	gpr[1]
#define RDX	gpr[2]
#define RBX	gpr[3]
#define RSP	gpr[4]
#define RBP	gpr[5]
#define RSI	gpr[6]
#define RDI	gpr[7]

struct mem {
	u64 addr;
	u8 len;
	u64 val;
};

#define OK		.st = EMU_OK
#define FAULT(v)	.st = EMU_FAULT, .vector = v
#define GP(err)		FAULT(13), .has_error = true, .error = err
#define SS(err)		FAULT(12), .has_error = true, .error = err
#define NP(err)		FAULT(11), .has_error = true, .error = err
#define UD		FAULT(6)

struct row {
	const char *name;
	enum world_mode mode;
	u8 code[12];
	enum emu_status st;
	u8 vector;
	bool has_error;
	bool amd;
	u32 error;
	u8 shadow;
	u8 cpl;			/* afterwards, if different: value + 1 */
	struct field set[4];
	struct mem put[5];
	struct field want[4];
	struct mem get[3];
};


#include "cases.h"

#define NR_ROWS	(sizeof(rows) / sizeof(rows[0]))

static void apply(struct emu *e, const struct row *row)
{
	unsigned int i;

	for (i = 0; i < 4 && row->set[i].size; i++)
		memcpy((u8 *)&e->regs + row->set[i].off, &row->set[i].val, row->set[i].size);
	for (i = 0; i < 5 && row->put[i].len; i++)
		world_put(row->put[i].addr, row->put[i].len, row->put[i].val);
	memcpy(machine_at(&world,
			  (e->mode == EMU_MODE_64 ? 0 : e->regs.seg[EMU_CS].base) + e->regs.rip,
			  sizeof(row->code)),
	       row->code, sizeof(row->code));
}

static void check_values(const struct row *row, const struct emu *e)
{
	unsigned int i;
	u64 val;

	for (i = 0; i < 4 && row->want[i].size; i++) {
		val = 0;
		memcpy(&val, (const u8 *)&e->regs + row->want[i].off, row->want[i].size);
		ck_assert_msg(val == row->want[i].val, "%s: field %u is %llx, not %llx", row->name,
			      i, val, row->want[i].val);
	}
	for (i = 0; i < 3 && row->get[i].len; i++) {
		val = world_get(row->get[i].addr, row->get[i].len);
		ck_assert_msg(val == row->get[i].val, "%s: memory at %llx is %llx, not %llx",
			      row->name, row->get[i].addr, val, row->get[i].val);
	}
}

static void check_outcome(const struct row *row, const struct emu *start, const struct emu *e,
			  enum emu_status st)
{
	ck_assert_msg(st == row->st, "%s: status %d, not %d (vector %u error %x)", row->name, st,
		      row->st, e->exc.vector, e->exc.error);
	if (st == EMU_FAULT) {
		ck_assert_msg(e->exc.vector == row->vector, "%s: vector %u, not %u (error %x)",
			      row->name, e->exc.vector, row->vector, e->exc.error);
		ck_assert_msg(e->exc.has_error == row->has_error && e->exc.error == row->error,
			      "%s: error %d %x, not %d %x", row->name, e->exc.has_error,
			      e->exc.error, row->has_error, row->error);
	}
	if (st != EMU_OK && !e->committed)
		ck_assert_msg(!memcmp(&e->regs, &start->regs, sizeof(e->regs)),
			      "%s: registers changed", row->name);
	if (st == EMU_OK)
		ck_assert_msg(e->shadow == row->shadow, "%s: shadow %u", row->name, e->shadow);
	ck_assert_msg(e->cpl == (row->cpl ? row->cpl - 1 : start->cpl), "%s: CPL %u", row->name,
		      e->cpl);
}

static void start_row(const struct row *row, struct emu *e)
{
	world_init(e, row->mode);
	e->amd = row->amd;
	apply(e, row);
}

START_TEST(cases)
{
	const struct row *row = &rows[_i];
	struct emu start, e;
	enum emu_status st;

	start_row(row, &start);
	st = machine_run(&world, &e, &start, emulate);
	check_outcome(row, &start, &e, st);
	check_values(row, &e);
}
END_TEST

/* Stop at each callback: what comes out in the end is the same, and so is memory. */
START_TEST(replay)
{
	const struct row *row = &rows[_i];
	static u8 memory[sizeof(world_memory)];
	struct emu start, want, e;
	unsigned int steps, k;
	enum emu_status st;

	start_row(row, &start);
	st = machine_run(&world, &want, &start, emulate);
	steps = world.nr_steps;
	memcpy(memory, world_memory, sizeof(memory));
	for (k = 1; k <= steps; k++) {
		start_row(row, &start);
		world.stop_at = k;
		ck_assert_msg(machine_run(&world, &e, &start, emulate) == st,
			      "%s: stopped at step %u", row->name, k);
		ck_assert_msg(!world.stop_at, "%s: step %u was not reached", row->name, k);
		ck_assert_msg(!memcmp(&e.regs, &want.regs, sizeof(e.regs)),
			      "%s: registers, stopped at step %u", row->name, k);
		ck_assert_msg(!memcmp(memory, world_memory, sizeof(memory)),
			      "%s: memory, stopped at step %u", row->name, k);
		ck_assert_int_eq(memcmp(&e.exc, &want.exc, sizeof(e.exc)), 0);
	}
}
END_TEST

/* Fault at each callback: the registers are as before. */
START_TEST(fault_anywhere)
{
	const struct row *row = &rows[_i];
	struct emu start, e;
	unsigned int steps, k;

	start_row(row, &start);
	machine_run(&world, &e, &start, emulate);
	steps = world.nr_steps;
	for (k = 1; k <= steps; k++) {
		start_row(row, &start);
		world.fault_at = k;
		ck_assert_msg(machine_run(&world, &e, &start, emulate) == EMU_FAULT,
			      "%s: fault at step %u is lost", row->name, k);
		ck_assert_uint_eq(e.exc.vector, 14);
		ck_assert_msg(e.committed || !memcmp(&e.regs, &start.regs, sizeof(e.regs)),
			      "%s: registers changed by a fault at step %u", row->name, k);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate: cases");
	TCase *t = tcase_create("cases");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, cases, 0, (int)NR_ROWS);
	tcase_add_loop_test(t, replay, 0, (int)NR_ROWS);
	tcase_add_loop_test(t, fault_anywhere, 0, (int)NR_ROWS);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
