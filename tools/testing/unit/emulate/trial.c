// SPDX-License-Identifier: GPL-2.0
/*
 * Trials: run on both sides, compare.  Flags and results that the manuals leave undefined are
 * masked by undefined_flags() and undefined_result().
 */
#include "trial.h"

#include <stdio.h>
#include <string.h>

struct trial t;
u8 arena_copy[ARENA_SIZE];

#define GDT_BASE	0x30000000u
#define LDT_BASE	0x31000000u

static u8 ldt_copy[sizeof(native_ldt)];
static u8 gdt_copy[128];
static u32 features;

/* Linux's GDT as far as level 3 may see it: 4 is 32-bit code, 5 data, 6 64-bit code */
static void init_gdt(void)
{
	static const u64 user[3] = { 0x00cffb000000ffffull, 0x00cff3000000ffffull,
				     0x00affb000000ffffull };

	memcpy(gdt_copy + 4 * 8, user, sizeof(user));
}

static void init_features(void)
{
	features = EMU_FEAT_SSE | EMU_FEAT_SSE3 | EMU_FEAT_CX16 | EMU_FEAT_LAHF_LM | EMU_FEAT_MOVBE;
	features |= native_is_amd ? EMU_FEAT_ALTMOVCR8 : 0;
	features |= __builtin_cpu_supports("popcnt") ? EMU_FEAT_POPCNT : 0;
	features |= __builtin_cpu_supports("lzcnt") ? EMU_FEAT_LZCNT : 0;
	features |= __builtin_cpu_supports("bmi") ? EMU_FEAT_BMI1 : 0;
	features |= __builtin_cpu_supports("sse4.1") ? EMU_FEAT_SSE4_1 : 0;
	features |= __builtin_cpu_supports("avx") ? EMU_FEAT_AVX : 0;
	features |= __builtin_cpu_supports("avx2") ? EMU_FEAT_AVX2 : 0;
}

/* ---- the emulator's side ---- */

static void seg_from_raw(struct emu_seg *s, u16 sel, u64 raw)
{
	*s = (struct emu_seg){
		.selector = sel,
		.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
		.limit = (u32)((raw & 0xffff) | (raw >> 32 & 0xf0000)),
		.type = raw >> 40 & 15,
		.s = raw >> 44 & 1,
		.dpl = raw >> 45 & 3,
		.p = raw >> 47 & 1,
		.avl = raw >> 52 & 1,
		.l = raw >> 53 & 1,
		.db = raw >> 54 & 1,
		.g = raw >> 55 & 1,
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
	e->amd = native_is_amd;
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
	e->regs.seg[EMU_LDTR] = (struct emu_seg){
		.base = LDT_BASE, .limit = sizeof(ldt_copy) - 1, .type = 2, .p = 1
	};
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
		fprintf(stderr, "  r%-2u %016llx -> cpu %016llx, emulator %016llx\n", i,
			t.in.gpr[i], t.out.gpr[i], t.e.regs.gpr[i]);
	fprintf(stderr,
		"  rip %llx -> %llx, %llx; flags %llx -> %llx, %llx; vector %u error %llx cr2 %llx\n",
		t.in.rip, t.out.rip, t.e.regs.rip, t.in.rflags, t.out.rflags, t.e.regs.rflags,
		t.out.vector, t.out.error, t.out.cr2);
	for (i = 0; i < ARENA_SIZE; i++) {
		if (arena_copy[i] != ((u8 *)(unsigned long)ARENA)[i])
			fprintf(stderr, "  memory %x: %02x, %02x\n", i,
				((u8 *)(unsigned long)ARENA)[i], arena_copy[i]);
	}
	fprintf(stderr, "  emulator: vector %u error %x payload %llx\n", t.e.exc.vector,
		t.e.exc.error, t.e.exc.payload);
	ck_abort_msg("%s: CPU %llx, emulator %llx: %s", what, want, got, hex(t.bytes, t.insn.len));
}

static void must_equal(const char *what, u64 cpu, u64 emu)
{
	if (cpu != emu)
		describe(what, cpu, emu);
}

/* Of the outer stack pointer that a far RET pops, AMD CPUs read SS before rSP: not laid down. */
static bool outer_ss_first(u64 cpu, u64 emu)
{
	return native_is_amd && !t.insn.map && (t.insn.opcode & 0xfe) == 0xca &&
	       cpu == emu + t.insn.osize;
}

static void compare_fault(enum emu_status st)
{
	const struct emu_exception *x = &t.e.exc;

	must_equal("completed", t.out.vector == 1, st == EMU_OK);
	if (st == EMU_OK)
		return;
	/* Which of two faulty operands is seen first is not laid down */
	if ((t.in.rflags & AC) && t.out.vector != x->vector &&
	    (t.out.vector == 17 || x->vector == 17))
		return;
	/*
	 * A bad EVEX prefix is #UD by the manuals; CPUs sometimes hold the whole for too long,
	 * which is #GP
	 */
	if ((t.insn.prefixes & EMU_PFX_EVEX) && t.out.vector == 13 && x->vector == 6)
		return;
	must_equal("vector", t.out.vector, x->vector);
	if (x->vector == 14) {
		if (!outer_ss_first(t.out.cr2, x->payload))
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
	return !d->map && ((d->opcode & 0xfc) == 0xa4 || (d->opcode & 0xfc) == 0xac ||
			   (d->opcode & 0xfe) == 0xaa || (d->opcode & 0xfc) == 0x6c);
}

/*
 * From a 16-bit stack to 64-bit code.  The kernel's IRET to that stack has left its own upper half
 * of RSP in AMD CPUs, which is undefined; and what RET releases is counted in 64 bits already.
 */
static void forget_rsp(void)
{
	u64 keep = !t.insn.map && t.insn.opcode == 0xca ? 0xffff : 0xffffffff;

	t.out.gpr[4] = (t.out.gpr[4] & keep) | (t.e.regs.gpr[4] & ~keep);
}

static void compare(enum emu_status st)
{
	u64 undef = undefined_flags(&t.insn) | RF;
	unsigned int i;

	/*
	 * Some hypervisors execute MOVBE in software, and not as the manuals say: no #AC, half-
	 * done writes before a page fault, #SS for #GP.  Only its results are compared.
	 */
	if (t.insn.map == EMU_MAP_0F38 && (st != EMU_OK || t.out.vector != 1)) {
		memcpy(arena_copy, (void *)(unsigned long)ARENA, ARENA_SIZE);
		return;
	}
	compare_fault(st);
	/*
	 * CPUs load registers of POPA before they meet a fault further up: no matter, as it is
	 * repeated
	 */
	if (undefined_result(&t.insn) || (st != EMU_OK && !t.insn.map && t.insn.opcode == 0x61))
		return;
	/*
	 * A 32-bit count of a repeated string instruction loses its upper half even if the
	 * element faults
	 */
	if (st != EMU_OK && t.mode == EMU_MODE_64 && t.insn.asize == 4 && string_insn(&t.insn))
		t.out.gpr[1] = (t.out.gpr[1] & 0xffffffff) | (t.e.regs.gpr[1] & ~0xffffffffull);
	/* What is above 32 bits in RSP cannot be seen, and is lost, outside 64-bit mode */
	if (emu_mode(&t.e.regs) != EMU_MODE_64) {
		t.out.gpr[4] = (u32)t.out.gpr[4];
		t.e.regs.gpr[4] = (u32)t.e.regs.gpr[4];
	}
	if (native_is_amd && t.mode == EMU_MODE_16 && emu_mode(&t.e.regs) == EMU_MODE_64)
		forget_rsp();
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
		must_equal("vector register", 0,
			   (u64) !!memcmp(t.out.vec[i], t.m.vec[i], native_has_avx ? 32 : 16));
	must_equal("MMX registers", 0, (u64)!!memcmp(t.out.mmx, t.m.mmx, sizeof(t.m.mmx)));
}

/* Execute on both sides and compare; false if the emulator declines */
bool trial_run(void)
{
	u8 *code = (u8 *)(unsigned long)(CODE + (t.in.rip & 0xfff) + (t.in.rip & 0x1000));
	enum emu_status st;

	memset((void *)(unsigned long)CODE, 0x90, CODE_SIZE);
	memcpy(code, t.bytes, t.insn.len);
	memcpy((void *)(unsigned long)ARENA, arena_copy, ARENA_SIZE);
	set_machine();
	set_emu(&t.e);
	st = emulate(&t.e);
	/*
	 * Nor what would write into the code, or reads descriptors of Linux's GDT that are not
	 * known here
	 */
	if (st == EMU_UNHANDLEABLE ||
	    (st == EMU_FAULT && (t.e.exc.payload - CODE < CODE_SIZE ||
				 t.e.exc.payload - GDT_BASE < sizeof(gdt_copy)))) {
		memcpy(arena_copy, (void *)(unsigned long)ARENA, ARENA_SIZE);
		return false;
	}
	t.out = t.in;
	native_run(&t.out);
	compare(st);
	return true;
}
void trial_init(void)
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
