// SPDX-License-Identifier: GPL-2.0
/*
 * Results, flags and faults: the emulator against the CPU itself.
 *
 * Random instructions on random registers and memory run natively in 64-, 32- and 16-bit code (see native.h) and in the
 * emulator; registers, flags, memory, and what was raised must be the same.  Flags and results that the manuals leave undefined are
 * masked by undefined_flags() and undefined_result().  What the emulator declines is not run; each opcode family that it must
 * not decline is counted.
 */
#include "machine.h"
#include "native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

#define GDT_BASE	0x30000000u
#define LDT_BASE	0x31000000u

static u8 arena_copy[ARENA_SIZE];
static u8 ldt_copy[sizeof(native_ldt)];
static u8 gdt_copy[128];
static u32 features;

/* Linux's GDT as far as level 3 may see it: 4 is 32-bit code, 5 data, 6 64-bit code */
static void init_gdt(void)
{
	static const u64 user[3] = { 0x00cffb000000ffffull, 0x00cff3000000ffffull, 0x00affb000000ffffull };

	memcpy(gdt_copy + 4 * 8, user, sizeof(user));
}

static void init_features(void)
{
	features = EMU_FEAT_SSE | EMU_FEAT_SSE3 | EMU_FEAT_CX16 | EMU_FEAT_LAHF_LM | EMU_FEAT_MOVBE;
	features |= __builtin_cpu_supports("popcnt") ? EMU_FEAT_POPCNT : 0;
	features |= __builtin_cpu_supports("lzcnt") ? EMU_FEAT_LZCNT : 0;
	features |= __builtin_cpu_supports("bmi") ? EMU_FEAT_BMI1 : 0;
	features |= __builtin_cpu_supports("sse4.1") ? EMU_FEAT_SSE4_1 : 0;
	features |= __builtin_cpu_supports("avx") ? EMU_FEAT_AVX : 0;
	features |= __builtin_cpu_supports("avx2") ? EMU_FEAT_AVX2 : 0;
}

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

static struct trial t;

/* ---- what may be generated ---- */

/*
 * Opcodes that would leave the harness: system calls, INT n, what the kernel answers itself (UMIP), time, loads of FS, and
 * segment loads, which have a test of their own.
 */
static bool unsafe(const struct emu_insn *d)
{
	unsigned int reg = d->modrm >> 3 & 7;

	if (d->seg == EMU_FS)
		return true;
	if (d->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX))
		return d->map != EMU_MAP_0F && d->map != EMU_MAP_0F38;
	if (d->map == EMU_MAP_1BYTE) {
		switch (d->opcode) {
		case 0x07: case 0x17: case 0x1f: case 0x8e: case 0xc4: case 0xc5:	/* segment loads */
		case 0x9a: case 0xea: case 0xca: case 0xcb: case 0xcf:			/* far transfers */
		case 0xcc: case 0xcd: case 0xce: case 0xf1:				/* software interrupts */
			return true;
		case 0xff:
			return reg == 3 || reg == 5;
		default:
			return false;
		}
	}
	if (d->map != EMU_MAP_0F)
		return false;
	switch (d->opcode) {
	case 0x00: case 0x01: case 0x02: case 0x03: case 0x05: case 0x07: case 0x31: case 0x33: case 0x34: case 0x35:
	case 0xa1: case 0xa9: case 0xb2: case 0xb4: case 0xb5:
		return true;
	case 0xae:
		return d->prefixes & EMU_PFX_REP;
	case 0xc7:
		return (d->modrm >= 0xc0) || reg != 1;
	default:
		return false;
	}
}

static void random_insn(void)
{
	static const u8 pfx[] = { 0x66, 0x66, 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x65, 0x2e, 0x3e, 0x36, 0x26 };
	unsigned int pos = 0, nr = rnd() % 4, i;
	u64 r = rnd();

	for (i = 0; i < 15; i++)
		t.bytes[i] = (u8)rnd();
	for (i = 0; nr < 3 && i < nr; i++)
		t.bytes[pos++] = pfx[rnd() % sizeof(pfx)];
	if (t.mode == EMU_MODE_64 && (r & 1))
		t.bytes[pos++] = (u8)(0x40 | (r >> 8 & 15));
	if ((r >> 1 & 3) == 0)
		t.bytes[pos++] = 0x0f;
	else if ((r >> 1 & 31) == 3)
		t.bytes[pos++] = 0x0f, t.bytes[pos++] = 0x38, t.bytes[pos++] = (u8)(0xf0 | (rnd() & 1));
	/* Half of the operands small, where edge cases are */
	if (rnd() & 1)
		t.bytes[pos + 2] = (u8)(rnd() % 70);
}

/* ---- operands that point into the arena ---- */

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
static u64 seg_base(void)
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
	return ARENA - seg_base() + off;
}

/* Change a base register, or the displacement, so that the operand lies in the arena */
static void aim_operand(void)
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
		t.in.gpr[base] = (target - rest) & (d->asize == 8 ? ~0ull : d->asize == 4 ? 0xffffffff : 0xffff);
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
		if (emu_decode(&again, copy, 15, t.mode) == 0 && again.len == d->len && again.modrm == d->modrm &&
		    again.opcode == d->opcode && again.sib == d->sib &&
		    again.disp == (d->asize == 2 ? (s16)disp : disp) && again.prefixes == d->prefixes) {
			memcpy(t.bytes, copy, 16);
			*d = again;
			return;
		}
	}
}

static void random_state(void)
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

/* ---- the emulator's side ---- */

static void seg_from_raw(struct emu_seg *s, u16 sel, u64 raw)
{
	*s = (struct emu_seg){
		.selector = sel,
		.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
		.limit = (u32)((raw & 0xffff) | (raw >> 32 & 0xf0000)),
		.type = raw >> 40 & 15, .s = raw >> 44 & 1, .dpl = raw >> 45 & 3, .p = raw >> 47 & 1,
		.avl = raw >> 52 & 1, .l = raw >> 53 & 1, .db = raw >> 54 & 1, .g = raw >> 55 & 1,
	};
	if (s->g)
		s->limit = s->limit << 12 | 0xfff;
}

static void set_seg(struct emu_seg *s, u16 sel)
{
	u64 raw = 0;

	if (sel & ~3u) {
		memcpy(&raw, (sel & 4 ? ldt_copy : gdt_copy) + (sel & ~7u), 8);
		seg_from_raw(s, sel, raw);
	} else {
		*s = (struct emu_seg){ .selector = sel, .unusable = 1 };
	}
}

static void set_emu(struct emu *e)
{
	unsigned int i;

	memset(e, 0, sizeof(*e));
	e->ops = &machine_ops;
	e->ctx = &t.m;
	e->features = features;
	e->cpl = 3;
	for (i = 0; i < 16; i++)
		e->regs.gpr[i] = t.in.gpr[i];
	e->regs.rip = t.in.rip;
	e->regs.rflags = t.in.rflags;
	set_seg(&e->regs.seg[EMU_ES], t.in.es);
	set_seg(&e->regs.seg[EMU_CS], t.in.cs);
	set_seg(&e->regs.seg[EMU_SS], t.in.ss);
	set_seg(&e->regs.seg[EMU_DS], t.in.ds);
	set_seg(&e->regs.seg[EMU_FS], 0);
	set_seg(&e->regs.seg[EMU_GS], t.in.gs);
	e->regs.seg[EMU_GS].base = 0x100;
	e->regs.seg[EMU_LDTR] = (struct emu_seg){ .base = LDT_BASE, .limit = sizeof(ldt_copy) - 1, .type = 2, .p = 1 };
	e->regs.seg[EMU_TR] = (struct emu_seg){ .limit = 0x67, .type = 11, .p = 1, .unusable = 1 };
	e->regs.gdtr = (struct emu_table){ .base = GDT_BASE, .limit = sizeof(gdt_copy) - 1 };
	e->regs.cr0 = 0x80050033;
	e->regs.cr4 = 0x406f0;
	e->regs.efer = 0xd01;
}

static void set_machine(void)
{
	t.m.nr_regions = 0;
	t.m.unlogged = true;
	t.m.xcr0 = 7;
	machine_add(&t.m, ARENA, ARENA_SIZE, arena_copy);
	machine_add(&t.m, CODE, CODE_SIZE, (u8 *)(unsigned long)CODE);
	t.m.region[1].read_only = true;
	machine_add(&t.m, LDT_BASE, sizeof(ldt_copy), ldt_copy);
	t.m.region[2].system = true;
	machine_add(&t.m, GDT_BASE + 4 * 8, 3 * 8, gdt_copy + 4 * 8);
	t.m.region[3].system = true;
	memcpy(t.m.vec, t.in.vec, sizeof(t.m.vec));
	memcpy(t.m.mmx, t.in.mmx, sizeof(t.m.mmx));
}

/* ---- what is undefined ---- */

static unsigned int masked_count(u64 count)
{
	return count & (t.insn.osize == 8 && (t.insn.map || t.insn.opcode & 1) ? 63 : 31);
}

static unsigned int shift_flags(unsigned int size, unsigned int op, unsigned int count)
{
	unsigned int undef = count == 1 ? 0 : OF;

	if (!count)
		return 0;
	if (op < 4)
		return undef;
	if (op != 7 && count >= 8 * size)
		undef |= CF;
	return undef | AF;
}

static unsigned int undefined_flags_0f(const struct emu_insn *d)
{
	unsigned int count;

	switch (d->opcode) {
	case 0xa3: case 0xab: case 0xb3: case 0xbb: case 0xba:
		return OF | SF | AF | PF;
	case 0xa4: case 0xac: case 0xa5: case 0xad:
		count = masked_count(d->opcode & 1 ? t.in.gpr[1] : (u64)d->imm);
		if (count > 8u * d->osize)
			return ARITH;
		return count ? AF | (count == 1 ? 0 : OF) : 0;
	case 0xaf:
		return SF | ZF | AF | PF;
	case 0xbc: case 0xbd:
		return OF | SF | AF | PF | ((d->prefixes & EMU_PFX_REP) ? 0 : CF);
	default:
		return 0;
	}
}

/* Flags that the manuals leave undefined after the instruction */
static unsigned int undefined_flags(const struct emu_insn *d)
{
	unsigned int size = d->opcode & 1 ? d->osize : 1;
	unsigned int reg = d->modrm >> 3 & 7;

	if (d->map == EMU_MAP_0F)
		return undefined_flags_0f(d);
	if (d->map != EMU_MAP_1BYTE)
		return 0;
	switch (d->opcode) {
	case 0x27: case 0x2f:
		return OF;
	case 0x37: case 0x3f:
		return OF | SF | ZF | PF;
	case 0xd4: case 0xd5:
		return OF | AF | CF;
	case 0x69: case 0x6b:
		return SF | ZF | AF | PF;
	case 0xc0: case 0xc1:
		return shift_flags(size, reg, masked_count((u64)d->imm));
	case 0xd0: case 0xd1:
		return shift_flags(size, reg, 1);
	case 0xd2: case 0xd3:
		return shift_flags(size, reg, masked_count(t.in.gpr[1]));
	case 0xf6: case 0xf7:
		return reg >= 6 ? ARITH : reg >= 4 ? SF | ZF | AF | PF : reg < 2 ? AF : 0;
	case 0x84: case 0x85: case 0xa8: case 0xa9:
		return AF;
	case 0x80: case 0x81: case 0x82: case 0x83:
		return reg == 1 || reg == 4 || reg == 6 ? AF : 0;
	default:
		return d->opcode < 0x40 && ((d->opcode & 0x38) == 8 || (d->opcode & 0x38) == 0x20 ||
					    (d->opcode & 0x38) == 0x30) ? AF : 0;
	}
}

/* Results that the manuals leave undefined */
static bool undefined_result(const struct emu_insn *d)
{
	if (d->map != EMU_MAP_0F)
		return false;
	switch (d->opcode) {
	case 0xc8: case 0xc9: case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return d->osize == 2;
	case 0xa4: case 0xac: case 0xa5: case 0xad:
		return masked_count(d->opcode & 1 ? t.in.gpr[1] : (u64)d->imm) > 8u * d->osize;
	default:
		return false;
	}
}

/* ---- comparison ---- */

static void describe(const char *what, u64 want, u64 got)
{
	unsigned int i;

	fprintf(stderr, "mode %u: %s\n", t.mode, hex(t.bytes, 15));
	for (i = 0; i < 16; i++)
		fprintf(stderr, "  r%-2u %016llx -> cpu %016llx, emulator %016llx\n", i, t.in.gpr[i], t.out.gpr[i],
			t.e.regs.gpr[i]);
	fprintf(stderr, "  rip %llx -> %llx, %llx; flags %llx -> %llx, %llx; vector %u error %llx cr2 %llx\n", t.in.rip,
		t.out.rip, t.e.regs.rip, t.in.rflags, t.out.rflags, t.e.regs.rflags, t.out.vector, t.out.error,
		t.out.cr2);
	for (i = 0; i < ARENA_SIZE; i++) {
		if (arena_copy[i] != ((u8 *)(unsigned long)ARENA)[i])
			fprintf(stderr, "  memory %x: %02x, %02x\n", i, ((u8 *)(unsigned long)ARENA)[i], arena_copy[i]);
	}
	fprintf(stderr, "  emulator: vector %u error %x payload %llx\n", t.e.exc.vector, t.e.exc.error,
		t.e.exc.payload);
	ck_abort_msg("%s: CPU %llx, emulator %llx: %s", what, want, got, hex(t.bytes, t.insn.len));
}

static void must_equal(const char *what, u64 cpu, u64 emu)
{
	if (cpu != emu)
		describe(what, cpu, emu);
}

static void compare_fault(enum emu_status st)
{
	const struct emu_exception *x = &t.e.exc;

	must_equal("completed", t.out.vector == 1, st == EMU_OK);
	if (st == EMU_OK)
		return;
	/* Which of two faulty operands is seen first is not laid down */
	if ((t.in.rflags & AC) && t.out.vector != x->vector && (t.out.vector == 17 || x->vector == 17))
		return;
	/* A bad EVEX prefix is #UD by the manuals; CPUs sometimes hold the whole for too long, which is #GP */
	if ((t.insn.prefixes & EMU_PFX_EVEX) && t.out.vector == 13 && x->vector == 6)
		return;
	must_equal("vector", t.out.vector, x->vector);
	if (x->vector == 14) {
		must_equal("CR2", t.out.cr2, x->payload);
		/* Present depends on what else is mapped; the arena has nothing read-only */
		must_equal("page fault error", t.out.error & 2, x->error & 2);
	} else {
		must_equal("error code", t.out.error, x->error);
	}
}

/* The kernel's way back to level 3 clears the RPL of null selectors */
static u16 null_is_0(u16 sel)
{
	return sel & ~3 ? sel : 0;
}

static bool string_insn(const struct emu_insn *d)
{
	return !d->map && ((d->opcode & 0xfc) == 0xa4 || (d->opcode & 0xfc) == 0xac || (d->opcode & 0xfe) == 0xaa ||
			   (d->opcode & 0xfc) == 0x6c);
}

static void compare(enum emu_status st)
{
	u64 undef = undefined_flags(&t.insn) | RF;
	unsigned int i;

	/*
	 * Some hypervisors execute MOVBE in software, and not as the manuals say: no #AC, half-done writes before a page
	 * fault, #SS for #GP.  Only its results are compared.
	 */
	if (t.insn.map == EMU_MAP_0F38 && (st != EMU_OK || t.out.vector != 1)) {
		memcpy(arena_copy, (void *)(unsigned long)ARENA, ARENA_SIZE);
		return;
	}
	compare_fault(st);
	/* CPUs load registers of POPA before they meet a fault further up: no matter, as it is repeated */
	if (undefined_result(&t.insn) || (st != EMU_OK && !t.insn.map && t.insn.opcode == 0x61))
		return;
	/* A 32-bit count of a repeated string instruction loses its upper half even if the element faults */
	if (st != EMU_OK && t.mode == EMU_MODE_64 && t.insn.asize == 4 && string_insn(&t.insn))
		t.out.gpr[1] = (t.out.gpr[1] & 0xffffffff) | (t.e.regs.gpr[1] & ~0xffffffffull);
	/* What is above 32 bits in RSP cannot be seen, and is lost, outside 64-bit mode */
	if (emu_mode(&t.e.regs) != EMU_MODE_64) {
		t.out.gpr[4] = (u32)t.out.gpr[4];
		t.e.regs.gpr[4] = (u32)t.e.regs.gpr[4];
	}
	for (i = 0; i < 16; i++)
		must_equal("register", t.out.gpr[i], t.e.regs.gpr[i]);
	must_equal("RIP", t.out.rip, t.e.regs.rip);
	must_equal("flags", t.out.rflags & ~undef, t.e.regs.rflags & ~undef);
	must_equal("CS", t.out.cs, t.e.regs.seg[EMU_CS].selector);
	must_equal("SS", t.out.ss, t.e.regs.seg[EMU_SS].selector);
	must_equal("DS", null_is_0(t.out.ds), null_is_0(t.e.regs.seg[EMU_DS].selector));
	must_equal("ES", null_is_0(t.out.es), null_is_0(t.e.regs.seg[EMU_ES].selector));
	if (memcmp(arena_copy, (void *)(unsigned long)ARENA, ARENA_SIZE))
		describe("memory", 0, 0);
	if (!t.in.use_vec)
		return;
	for (i = 0; i < 16; i++)
		must_equal("vector register", 0, (u64)!!memcmp(t.out.vec[i], t.m.vec[i], native_has_avx ? 32 : 16));
	must_equal("MMX registers", 0, (u64)!!memcmp(t.out.mmx, t.m.mmx, sizeof(t.m.mmx)));
}

/* Execute on both sides and compare; false if the emulator declines */
static bool run_both(void)
{
	u8 *code = (u8 *)(unsigned long)(CODE + (t.in.rip & 0xfff) + (t.in.rip & 0x1000));
	enum emu_status st;

	memset((void *)(unsigned long)CODE, 0x90, CODE_SIZE);
	memcpy(code, t.bytes, t.insn.len);
	memcpy((void *)(unsigned long)ARENA, arena_copy, ARENA_SIZE);
	set_machine();
	set_emu(&t.e);
	st = emulate(&t.e);
	/* Nor what would write into the code, or reads descriptors of Linux's GDT that are not known here */
	if (st == EMU_UNHANDLEABLE || (st == EMU_FAULT && (t.e.exc.payload - CODE < CODE_SIZE ||
							   t.e.exc.payload - GDT_BASE < sizeof(gdt_copy)))) {
		memcpy(arena_copy, (void *)(unsigned long)ARENA, ARENA_SIZE);
		return false;
	}
	t.out = t.in;
	native_run(&t.out);
	compare(st);
	return true;
}

static void random_arena(void)
{
	unsigned int i;
	u64 val;

	for (i = 0; i < ARENA_SIZE; i += 8) {
		val = random_value();
		memcpy(arena_copy + i, &val, 8);
	}
}

static void init_process(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	native_init();
	init_gdt();
	init_features();
	memcpy(ldt_copy, native_ldt, sizeof(native_ldt));
	native_set_gs_base(0x100);
}

/* A locked access across cache lines can be very slow, or a fault, by the kernel's choice. */
static bool locks(const struct emu_insn *d)
{
	return (d->prefixes & EMU_PFX_LOCK) || (!d->map && (d->opcode & 0xfe) == 0x86);
}

/* How many opcodes of a map were executed to the end? */
static unsigned int covered(bool seen[2][256], unsigned int map)
{
	unsigned int i, n = 0;

	for (i = 0; i < 256; i++)
		n += seen[map][i];
	return n;
}

START_TEST(random_instructions)
{
	static const unsigned int want[3][2] = { { 185, 92 }, { 185, 92 }, { 150, 92 } };
	unsigned long n = rounds(120000), ran = 0, i;
	bool seen[2][256] = {};

	rnd_seed(100 + (u64)_i);
	init_process();
	t.mode = (unsigned int)_i;
	random_arena();
	for (i = 0; i < n; i++) {
		random_insn();
		if (emu_decode(&t.insn, t.bytes, 15, t.mode) < 0 || unsafe(&t.insn))
			continue;
		t.in.use_vec = t.insn.map && t.insn.map != EMU_MAP_3DNOW;
		random_state();
		aim_operand();
		if (unsafe(&t.insn))
			continue;
		if (locks(&t.insn))
			t.in.rflags &= ~(u64)AC;
		if (!run_both())
			continue;
		ran++;
		if (t.insn.map < 2 && t.out.vector == 1)
			seen[t.insn.map][t.insn.opcode] = true;
		if ((i & 0xfff) == 0)
			random_arena();
	}
	ck_assert_msg(ran > n / 3, "only %lu of %lu were executed", ran, n);
	for (i = 0; i < 2; i++)
		ck_assert_uint_ge(covered(seen, (unsigned int)i), want[_i][i]);
}
END_TEST

/* Vector moves by opcode and prefix, legacy and VEX */
static void random_vector_insn(void)
{
	static const u8 opcodes[] = {
		0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xe7, 0xf0,
	};
	static const u8 pp_bytes[4] = { 0x2e, 0x66, 0xf3, 0xf2 };
	u8 opcode = opcodes[rnd() % sizeof(opcodes)];
	unsigned int pos = 0, i;
	bool ntdqa = (rnd() & 31) == 0;
	u64 r = rnd();

	for (i = 0; i < 15; i++)
		t.bytes[i] = (u8)rnd();
	if (r & 1) {
		t.bytes[pos++] = pp_bytes[ntdqa ? 1 : r >> 1 & 3];
		if (t.mode == EMU_MODE_64 && (r & 8))
			t.bytes[pos++] = (u8)(0x40 | (r >> 8 & 15));
		t.bytes[pos++] = 0x0f;
		if (ntdqa)
			t.bytes[pos++] = 0x38;
	} else if ((r & 8) || ntdqa) {
		t.bytes[pos++] = 0xc4;
		t.bytes[pos++] = (u8)((t.mode == EMU_MODE_64 ? r >> 16 & 0xe0 : 0xe0) | (ntdqa ? 2 : 1));
		t.bytes[pos++] = (u8)((r >> 24 & 0x87) | (rnd() & 7 ? 0x78 : r >> 32 & 0x78));
		if (ntdqa)
			t.bytes[pos - 1] = (u8)((t.bytes[pos - 1] & ~3) | 1);
	} else {
		t.bytes[pos++] = 0xc5;
		t.bytes[pos++] = (u8)((t.mode == EMU_MODE_64 ? r >> 16 & 0x80 : 0x80) | (r >> 24 & 7) | 0x78);
	}
	t.bytes[pos++] = ntdqa ? 0x2a : opcode;
}

START_TEST(vector_moves)
{
	unsigned long n = rounds(60000), ran = 0, i;

	rnd_seed(200 + (u64)_i);
	init_process();
	t.mode = (unsigned int)_i;
	t.in.use_vec = true;
	random_arena();
	for (i = 0; i < n; i++) {
		random_vector_insn();
		if (emu_decode(&t.insn, t.bytes, 15, t.mode) < 0 || unsafe(&t.insn))
			continue;
		random_state();
		aim_operand();
		ran += run_both();
	}
	ck_assert_msg(ran > n / 3, "only %lu of %lu were executed", ran, n);
}
END_TEST

/* Selectors that the CPU and the emulator's tables agree on */
static u16 random_selector(void)
{
	static const u16 known[] = { 0, 1, 3, 0x23, 0x2b, 0x33, 0x2a, 0x28, 0x20, 0xffff, 0x87, 0x83 };
	u64 r = rnd();

	if (r & 3)
		return (u16)(LDT_SEL(rnd() % (NR_LDT + 1)) & ~(r >> 8 & 3 ? 0 : 3));
	return known[rnd() % (sizeof(known) / sizeof(known[0]))];
}

/* Opcodes that take a selector: loads of ES and DS, far transfers, LAR, LSL, VERR, VERW */
static void random_segment_insn(void)
{
	static const u8 one[] = { 0x8e, 0x8e, 0x8c, 0x07, 0x1f, 0xc4, 0xc5, 0xff, 0xff, 0xca, 0xcb, 0xcb, 0xcf, 0xcf, 0x9a, 0xea };
	unsigned int pos = 0, i;
	u64 r = rnd();

	for (i = 0; i < 15; i++)
		t.bytes[i] = (u8)rnd();
	if ((r & 3) == 0)
		t.bytes[pos++] = 0x66;
	if (t.mode == EMU_MODE_64 && (r & 4))
		t.bytes[pos++] = (u8)(0x40 | (r >> 8 & 15));
	if ((r & 0x18) == 0) {
		t.bytes[pos++] = 0x0f;
		t.bytes[pos] = (u8)(rnd() % 3 ? 2 + (rnd() & 1) : 0);
		if (!t.bytes[pos])
			t.bytes[pos + 1] = (u8)((t.bytes[pos + 1] & 0xc7) | (4 + (rnd() & 1)) << 3);
		return;
	}
	t.bytes[pos] = one[rnd() % sizeof(one)];
	if (t.bytes[pos] == 0x8e)
		t.bytes[pos + 1] = (u8)((t.bytes[pos + 1] & 0xc7) | (rnd() & 1 ? EMU_DS : EMU_ES) << 3);
	if (t.bytes[pos] == 0xff)
		t.bytes[pos + 1] = (u8)((t.bytes[pos + 1] & 0x07) | (rnd() & 1 ? 0x18 : 0x28));
	if (t.bytes[pos] == 0x9a || t.bytes[pos] == 0xea || (t.bytes[pos] & 0xfe) == 0xca) {
		u16 sel = random_selector();

		memcpy(t.bytes + pos + 1 + (t.bytes[pos] < 0xcc && t.bytes[pos] > 0xc0 ? 0 : t.insn.osize), &sel, 2);
	}
}

/* Offsets that far transfers may go to: mostly good in the code that the selector means */
static u64 random_offset(u16 sel)
{
	u64 off = 0x100 + rnd() % 0x200;

	if ((rnd() & 31) == 0)
		off |= rnd() & (rnd() & 1 ? 0xffff00000000 : 0xffffffff00000000);
	if (sel == LDT_SEL(LDT_CODE16))
		return rnd() & 15 ? off : off + CODE_SIZE;
	return CODE + off;
}

/* Selectors in registers and memory, and whole IRET frames on the stack */
static void place_selectors(void)
{
	unsigned int size = t.insn.osize, i;
	u64 frame[5];
	u8 *p;

	for (i = 0; i < 16; i++)
		t.in.gpr[i] = (t.in.gpr[i] & ~0xffffull) | random_selector();
	t.in.gpr[4] = ARENA - seg_base() + 0x800;
	aim_operand();
	frame[1] = random_selector();
	frame[0] = random_offset((u16)frame[1]);
	frame[2] = 0x202 | (rnd() & (ARITH | DF));
	frame[3] = ARENA + 0x900;
	frame[4] = rnd() & 7 ? (rnd() & 1 ? 0x2b : LDT_SEL(LDT_DATA32)) : random_selector();
	p = arena_copy + 0x800;
	for (i = 0; i < 5; i++)
		memcpy(p + i * size, &frame[i], size);
	/* Far pointers all over the arena, at the places that operands are aimed at */
	for (i = 0; i < ARENA_SIZE; i += 64) {
		if (i >= 0x7c0 && i < 0x880)
			continue;
		frame[1] = random_selector();
		frame[0] = random_offset((u16)frame[1]);
		memcpy(arena_copy + i, &frame[0], size);
		memcpy(arena_copy + i + size, &frame[1], 2);
	}
}

/* SS, and what loads it in a way that the harness would not survive, stay out */
static bool unsafe_segment(const struct emu_insn *d)
{
	unsigned int reg = d->modrm >> 3 & 7;

	if (d->seg == EMU_FS || (d->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX)))
		return true;
	if (d->map == EMU_MAP_0F && d->opcode == 0)
		return reg != 4 && reg != 5;
	return false;
}

START_TEST(segments)
{
	unsigned long n = rounds(60000), ran = 0, loaded = 0, i;

	rnd_seed(300 + (u64)_i);
	init_process();
	t.mode = (unsigned int)_i;
	t.in.use_vec = false;
	random_arena();
	for (i = 0; i < n; i++) {
		t.insn.osize = 4;
		random_segment_insn();
		if (emu_decode(&t.insn, t.bytes, 15, t.mode) < 0 || unsafe_segment(&t.insn))
			continue;
		random_state();
		t.in.rflags &= ~(u64)AC;
		place_selectors();
		if (!run_both())
			continue;
		ran++;
		loaded += t.out.vector == 1;
	}
	ck_assert_msg(ran > n / 2 && loaded > n / 10, "only %lu of %lu were executed, %lu without a fault", ran, n, loaded);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate: against the CPU");
	TCase *c = tcase_create("native");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 1200);
	tcase_add_loop_test(c, random_instructions, 0, 3);
	tcase_add_loop_test(c, vector_moves, 0, 3);
	tcase_add_loop_test(c, segments, 0, 3);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
