// SPDX-License-Identifier: GPL-2.0
/*
 * Random states for trials: registers, and operands that point into the arena.
 */
#include "trial.h"

#include <string.h>

static u64 random_value(void)
{
	static const u64 edge[] = {
		0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
	};
	u64 r = rnd();

	if ((r & 7) == 0)
		return edge[rnd() % (sizeof(edge) / sizeof(edge[0]))];
	if ((r & 7) == 1)
		return rnd() % 256;
	return rnd();
}

/* Base of the segments that are not flat in 16-bit code */
u64 trial_seg_base(void)
{
	return t.mode == EMU_MODE_16 ? ARENA : 0;
}

/* Somewhere in the arena, mostly aligned, sometimes at its edges */
static u64 random_target(void)
{
	u64 off = rnd() % ARENA_SIZE;
	u64 r = rnd();

	if ((r & 0xff) == 0)
		off = ARENA_SIZE - rnd() % 9;
	else if (r & 0xe0)
		off &= ~63ull;
	if ((r & 0xff) > 0xf0)
		off = 0xff8 + rnd() % 16;
	return ARENA - trial_seg_base() + off;
}

/* Change a base register, or the displacement, so that the operand lies in the arena */
void trial_aim_operand(void)
{
	struct emu_insn *d = &t.insn;
	u64 target = random_target();
	unsigned int base, index = 16;
	bool no_base = false;
	u64 rest;
	s32 disp;

	if (!d->has_modrm || d->modrm >= 0xc0)
		return;
	rest = (u64)(s64)d->disp;
	if (d->asize == 2) {
		static const u8 bases[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };

		base = bases[d->modrm & 7];
		if ((d->modrm & 7) < 4)
			index = 6 + (d->modrm & 1);
		no_base = d->modrm < 0x40 && (d->modrm & 7) == 6;
		if (index < 16)
			rest += t.in.gpr[index];
	} else if ((d->modrm & 7) == 4) {
		base = (d->sib & 7) | (d->rex & EMU_REX_B ? 8 : 0);
		index = (d->sib >> 3 & 7) | (d->rex & EMU_REX_X ? 8 : 0);
		no_base = (base & 7) == 5 && d->modrm < 0x40;
		if (index != 4)
			rest += t.in.gpr[index] << (d->sib >> 6);
		else
			index = 16;
	} else {
		base = (d->modrm & 7) | (d->rex & EMU_REX_B ? 8 : 0);
		no_base = (d->modrm & 7) == 5 && d->modrm < 0x40;
		if (no_base && t.mode == EMU_MODE_64)
			rest += t.in.rip + d->len;
	}
	if (d->seg == EMU_GS)
		rest += t.mode == EMU_MODE_64 ? 0x100 : 0;
	if (!no_base && base != index) {
		t.in.gpr[base] = (target - rest) & (d->asize == 8 ? ~0ull :
						    d->asize == 4 ? 0xffffffff :
								    0xffff);
		return;
	}
	if (!no_base)
		return;
	/* The displacement is in the bytes; find it by trying where */
	disp = (s32)(target - (rest - (u64)(s64)d->disp));
	for (base = 0; base + 4 <= d->len; base++) {
		struct emu_insn again;
		u8 copy[16];

		memcpy(copy, t.bytes, 16);
		memcpy(copy + base, &disp, d->asize == 2 ? 2 : 4);
		if (emu_decode(&again, copy, 15, t.mode) == 0 && again.len == d->len &&
		    again.modrm == d->modrm && again.opcode == d->opcode && again.sib == d->sib &&
		    again.disp == (d->asize == 2 ? (s16)disp : disp) &&
		    again.prefixes == d->prefixes) {
			memcpy(t.bytes, copy, 16);
			*d = again;
			return;
		}
	}
}

void trial_random_state(void)
{
	u64 mask = t.mode == EMU_MODE_64 ? ~0ull : 0xffffffff;
	unsigned int i, k;

	for (i = 0; i < 16; i++)
		t.in.gpr[i] = random_value() & (i < 8 ? mask : ~0ull);
	t.in.rip = t.mode == EMU_MODE_16 ? 0x800 : CODE + 0x800;
	if ((rnd() & 15) == 0)
		t.in.rip += 0x800 - 1 - rnd() % 14;
	t.in.rflags = 2 | 0x200 | TF | (rnd() & (ARITH | DF));
	if ((rnd() & 15) == 0)
		t.in.rflags |= AC;
	t.in.gs = 0;
	if (t.mode == EMU_MODE_64) {
		t.in.cs = 0x33, t.in.ss = 0x2b, t.in.ds = 0, t.in.es = 0;
	} else if (t.mode == EMU_MODE_32) {
		t.in.cs = 0x23, t.in.ss = 0x2b, t.in.ds = 0x2b, t.in.es = 0x2b;
	} else {
		t.in.cs = LDT_SEL(LDT_CODE16);
		t.in.ss = t.in.ds = t.in.es = LDT_SEL(LDT_DATA16);
	}
	if (t.in.use_vec) {
		for (i = 0; i < 16; i++)
			for (k = 0; k < 32; k++)
				t.in.vec[i][k] = native_has_avx || k < 16 ? (u8)rnd() : 0;
		for (i = 0; i < 8; i++)
			t.in.mmx[i] = rnd();
	}
	/* Stack and string operands */
	t.in.gpr[4] = random_target();
	t.in.gpr[5] = (rnd() & 1) ? random_target() : t.in.gpr[5];
	t.in.gpr[6] = random_target();
	t.in.gpr[7] = random_target();
	if ((rnd() & 3) == 0)
		t.in.gpr[1] = rnd() & 3;
}

void trial_random_arena(void)
{
	unsigned int i;
	u64 val;

	for (i = 0; i < ARENA_SIZE; i += 8) {
		val = random_value();
		memcpy(arena_copy + i, &val, 8);
	}
}
