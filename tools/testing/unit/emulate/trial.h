/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One instruction executed by the CPU and by the emulator, with everything that goes into it.
 */
#ifndef STRATA_UNIT_TRIAL_H
#define STRATA_UNIT_TRIAL_H

#include "machine.h"
#include "native.h"

#define CF	0x001u
#define PF	0x004u
#define AF	0x010u
#define ZF	0x040u
#define SF	0x080u
#define TF	0x100u
#define DF	0x400u
#define OF	0x800u
#define RF	0x10000u
#define AC	0x40000u
#define ARITH	(CF | PF | AF | ZF | SF | OF)

/* An instruction under test with everything that goes into it */
struct trial {
	unsigned int mode;
	u8 bytes[16];
	struct emu_insn insn;
	struct native_state in;
	struct native_state out;
	struct machine m;
	struct emu e;
};

extern struct trial t;
extern u8 arena_copy[ARENA_SIZE];	/* the emulator's arena */

/* trial.c */
void trial_init(void);
bool trial_run(void);

/* trial_input.c */
u64 trial_seg_base(void);
void trial_random_arena(void);
void trial_random_state(void);
void trial_aim_operand(void);

#endif
