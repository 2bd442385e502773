/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Execute one instruction on the CPU itself, from a chosen state, and see the state after it.
 *
 * The instruction runs in this process at privilege level 3, in 64-, 32- or 16-bit code (the
 * latter through the LDT), single-stepped; whatever it raises arrives as a signal with vector and
 * error code.  Memory it may touch is the arena, at a fixed address below 2 GB with nothing
 * mapped around it.
 */
#ifndef STRATA_UNIT_NATIVE_H
#define STRATA_UNIT_NATIVE_H

#include "emu_test.h"

#define ARENA		0x10000000u
#define ARENA_SIZE	0x2000u
#define CODE		0x20000000u
#define CODE_SIZE	0x2000u

/* LDT entries, by index */
enum ldt_entry {
	LDT_CODE16,		/* base CODE, limit of the code area */
	LDT_DATA16,		/* base ARENA, limit of the arena */
	LDT_CODE32,		/* flat */
	LDT_DATA32,		/* flat */
	LDT_ABSENT,		/* not-present data */
	LDT_READ_ONLY,		/* data */
	LDT_EXEC_ONLY,		/* code */
	LDT_CONFORMING_ABSENT,	/* code; Linux permits no present one */
	LDT_EXPAND_DOWN,	/* data, base ARENA, offsets from 0x1000 */
	LDT_CODE_ABSENT,
	NR_LDT,
};

#define LDT_SEL(n)	((u16)((n) << 3 | 7))

/* What the native side needs and gives */
struct native_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	u16 cs, ss, ds, es, gs;
	u8 vec[16][32];
	u64 mmx[8];
	bool use_vec;		/* load and read @vec and @mmx */
	unsigned int vector;	/* out: 1 when the instruction was completed */
	u64 error;
	u64 cr2;
};

extern u64 native_ldt[NR_LDT];
extern bool native_has_avx;
extern bool native_is_amd;

void native_init(void);
void native_run(struct native_state *s);
void native_set_gs_base(u64 base);

#endif
