/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small machine for the emulator: regions of memory, ports, registers, and a log of what was
 * asked.
 *
 * Each callback is one step.  A step can be told to answer EMU_IO: then, as a real caller would,
 * the next run replays the steps already done from the log (checking that they are the same) and
 * goes on behind them.
 */
#ifndef STRATA_UNIT_MACHINE_H
#define STRATA_UNIT_MACHINE_H

#include "emu_test.h"

#define MAX_REGIONS	12
#define MAX_STEPS	128

/* A range of linear addresses; others fault as not present */
struct region {
	u64 base;
	u32 size;
	u8 *data;
	bool read_only;
	bool system;		/* only for accesses below level 3, and implicit ones */
};

/* One callback: what it was asked, what it answered */
struct step {
	const char *op;
	u64 addr;
	u32 len;
	u32 flags;
	u8 data[112];
};

struct machine {
	struct region region[MAX_REGIONS];
	unsigned int nr_regions;
	u8 vec[16][32];
	u64 mmx[8];
	u64 dr[8];
	u64 msr[4];		/* by the low bits of the index */
	u64 xcr0;
	u64 port_in;		/* what IN gives */
	unsigned int stop_at;	/* step to answer with EMU_IO, counted from 1; 0: none */
	unsigned int fault_at;	/* step to answer with a page fault */
	enum emu_status task_status;	/* answer to a task switch by an instruction */
	enum emu_task_reason task_reason;	/* of the last one */
	bool unlogged;		/* plain run, nothing recorded */
	bool hidden;		/* @rest is to come back when the emulator asks for it */
	struct emu_regs rest;	/* what the emulator is not to see before */
	unsigned int pos;
	unsigned int nr_steps;
	struct step step[MAX_STEPS];
};

extern const struct emu_ops machine_ops;

void machine_add(struct machine *m, u64 base, u32 size, u8 *data);
void *machine_at(struct machine *m, u64 linear, unsigned int len);
enum emu_status machine_run(struct machine *m, struct emu *e, const struct emu *start,
			    enum emu_status (*run)(struct emu *e));

#endif
