// SPDX-License-Identifier: GPL-2.0
/*
 * Loads and stores of vector registers, legacy and VEX encoded, and the few x87 instructions that
 * need no FPU.
 *
 * Only plain moves: what computes is EMU_UNHANDLEABLE.
 */
#include "exec.h"

#define XCR0_SSE_AVX	0x6u
#define FSW_ES		0x80u

enum move_kind {
	MOVE_NONE,
	MOVE_LOAD,	/* to ModRM.reg */
	MOVE_STORE,	/* to ModRM.rm */
};

/**
 * struct vec_move - what an opcode moves
 * @kind: enum move_kind
 * @size: bytes; 16 stands for the whole vector
 * @aligned: memory must be aligned to @size
 * @mem_only: the register form does not exist
 * @reg_merge: the register form of a load keeps the rest of the destination
 * @feature: EMU_FEAT_* needed for the legacy form beside SSE
 */
struct vec_move {
	u8 kind;
	u8 size;
	bool aligned;
	bool mem_only;
	bool reg_merge;
	u16 feature;
};

/* Mandatory prefix: 0 none, 1 66, 2 F3, 3 F2; F2 and F3 go before 66 */
static unsigned int mandatory_prefix(const struct emu *e)
{
	if (e->insn.prefixes & EMU_PFX_VEX)
		return e->insn.pp;
	if (e->insn.prefixes & EMU_PFX_REP)
		return 2;
	if (e->insn.prefixes & EMU_PFX_REPNE)
		return 3;
	return e->insn.prefixes & EMU_PFX_OPSIZE ? 1 : 0;
}

static void classify_0f(u8 opcode, unsigned int pp, struct vec_move *m)
{
	u8 dir = opcode & 1 ? MOVE_STORE : MOVE_LOAD;

	switch (opcode << 4 | pp) {
	case 0x100:
	case 0x101:
	case 0x110:
	case 0x111:
		*m = (struct vec_move){ .kind = dir, .size = 16 };
		break;
	case 0x102:
	case 0x112:
		*m = (struct vec_move){ .kind = dir, .size = 4, .reg_merge = true };
		break;
	case 0x103:
	case 0x113:
		*m = (struct vec_move){ .kind = dir, .size = 8, .reg_merge = true };
		break;
	case 0x280:
	case 0x281:
	case 0x290:
	case 0x291:
		*m = (struct vec_move){ .kind = dir, .size = 16, .aligned = true };
		break;
	case 0x2b0:
	case 0x2b1:
	case 0xe71:
		*m = (struct vec_move){
			.kind = MOVE_STORE, .size = 16, .aligned = true, .mem_only = true
		};
		break;
	case 0x6f1:
		*m = (struct vec_move){ .kind = MOVE_LOAD, .size = 16, .aligned = true };
		break;
	case 0x6f2:
		*m = (struct vec_move){ .kind = MOVE_LOAD, .size = 16 };
		break;
	case 0x7f1:
		*m = (struct vec_move){ .kind = MOVE_STORE, .size = 16, .aligned = true };
		break;
	case 0x7f2:
		*m = (struct vec_move){ .kind = MOVE_STORE, .size = 16 };
		break;
	case 0x7e2:
		*m = (struct vec_move){ .kind = MOVE_LOAD, .size = 8 };
		break;
	case 0xd61:
		*m = (struct vec_move){ .kind = MOVE_STORE, .size = 8 };
		break;
	case 0xf03:
		*m = (struct vec_move){
			.kind = MOVE_LOAD, .size = 16, .mem_only = true, .feature = EMU_FEAT_SSE3,
		};
		break;
	default:
		break;
	}
}

static struct vec_move classify(const struct emu *e)
{
	struct vec_move m = { .kind = MOVE_NONE };
	unsigned int pp = mandatory_prefix(e);

	if (e->insn.map == EMU_MAP_0F)
		classify_0f(e->insn.opcode, pp, &m);
	else if (e->insn.map == EMU_MAP_0F38 && e->insn.opcode == 0x2a && pp == 1)
		m = (struct vec_move){
			.kind = MOVE_LOAD, .size = 16, .aligned = true, .mem_only = true,
			.feature = EMU_FEAT_SSE4_1,
		};
	return m;
}

/* May legacy SSE instructions run? */
static enum emu_status check_sse(struct emu *e, u16 feature)
{
	feature |= EMU_FEAT_SSE;
	if ((e->features & feature) != feature || (e->regs.cr0 & CR0_EM) ||
	    !(e->regs.cr4 & CR4_OSFXSR))
		return emu_ud(e);
	if (e->regs.cr0 & CR0_TS)
		return emu_raise(e, VEC_NM, false, 0);
	return EMU_OK;
}

static enum emu_status check_avx(struct emu *e)
{
	enum emu_status st;
	u64 xcr0;

	if (!(e->features & EMU_FEAT_AVX) || !in_protected(e) || !(e->regs.cr4 & CR4_OSXSAVE))
		return emu_ud(e);
	st = e->ops->xgetbv(e, 0, &xcr0);
	if (st)
		return st;
	if ((xcr0 & XCR0_SSE_AVX) != XCR0_SSE_AVX)
		return emu_ud(e);
	if (e->regs.cr0 & CR0_TS)
		return emu_raise(e, VEC_NM, false, 0);
	return EMU_OK;
}

/* MMX instructions raise what x87 instructions have left pending: then they are not for us */
static enum emu_status check_mmx(struct emu *e)
{
	enum emu_status st;
	u16 fsw;

	if (e->regs.cr0 & CR0_EM)
		return emu_ud(e);
	if (e->regs.cr0 & CR0_TS)
		return emu_raise(e, VEC_NM, false, 0);
	st = e->ops->fnstsw(e, &fsw);
	if (st)
		return st;
	return fsw & FSW_ES ? EMU_UNHANDLEABLE : EMU_OK;
}

/*
 * Address of a vector in memory. Scalars obey alignment checking; vectors the instruction's own
 * rule, and on AMD CPUs alignment checking to 16 bytes (Intel leaves it to the implementation).
 */
static enum emu_status vec_linear(struct emu *e, const struct vec_move *m, unsigned int size,
				  bool write, u64 *linear)
{
	u64 base = e->mode == EMU_MODE_64 ? 0 : e->regs.seg[e->ea_seg].base;
	enum emu_status st;

	/*
	 * Misalignment goes before the segment's limit. FS and GS bases of 64-bit mode are looked
	 * at below.
	 */
	if (m->aligned && e->ea_seg < EMU_FS && ((base + e->ea) & (size - 1)))
		return emu_gp(e, 0);
	st = emu_linear(e, e->ea_seg, e->ea, size, write, linear);
	if (st)
		return st;
	if (m->aligned && (*linear & (size - 1)))
		return emu_gp(e, 0);
	if (size > 8 && !e->amd)
		return EMU_OK;
	return emu_check_align(e, *linear, size < 16 ? size : 16);
}

static enum emu_status vec_load(struct emu *e, const struct vec_move *m, unsigned int size,
				bool vex)
{
	bool merge = m->reg_merge && mod_is_reg(e);
	enum emu_status st;
	u8 buf[32] = {};
	u64 linear;

	if (mod_is_reg(e)) {
		st = e->ops->read_vec(e, modrm_rm(e), buf, size);
	} else {
		st = vec_linear(e, m, size, false, &linear);
		if (!st)
			st = emu_linear_read(e, linear, buf, size, 0);
	}
	if (st)
		return st;
	return e->ops->write_vec(e, modrm_reg(e), buf, merge || size > 16 ? size : 16, vex);
}

static enum emu_status vec_store(struct emu *e, const struct vec_move *m, unsigned int size,
				 bool vex)
{
	bool merge = m->reg_merge && mod_is_reg(e);
	enum emu_status st;
	u8 buf[32] = {};
	u64 linear;

	if (!mod_is_reg(e)) {
		st = vec_linear(e, m, size, true, &linear);
		if (st)
			return st;
	}
	st = e->ops->read_vec(e, modrm_reg(e), buf, size);
	if (st)
		return st;
	if (!mod_is_reg(e))
		return emu_linear_write(e, linear, buf, size, 0);
	return e->ops->write_vec(e, modrm_rm(e), buf, merge || size > 16 ? size : 16, vex);
}

static enum emu_status vec_do(struct emu *e, const struct vec_move *m, unsigned int size, bool vex)
{
	if (m->mem_only && mod_is_reg(e))
		return emu_ud(e);
	return m->kind == MOVE_LOAD ? vec_load(e, m, size, vex) : vec_store(e, m, size, vex);
}

static enum emu_status sse_move(struct emu *e)
{
	struct vec_move m = classify(e);
	enum emu_status st;

	if (m.kind == MOVE_NONE)
		return EMU_UNHANDLEABLE;
	st = check_sse(e, m.feature);
	return st ? st : vec_do(e, &m, m.size, false);
}

enum emu_status emu_op_sse_mov(struct emu *e)
{
	return sse_move(e);
}

enum emu_status emu_op_lddqu(struct emu *e)
{
	return sse_move(e);
}

/*
 * An MMX register to or from the operand that ModRM.rm names, which is MMX or memory.  Every MMX
 * instruction changes the x87 tags: a store writes its own source back for that, once the memory
 * write is done.
 */
static enum emu_status mmx_move(struct emu *e, bool store)
{
	unsigned int rm = e->insn.modrm & 7;
	unsigned int reg = modrm_ext(e);
	enum emu_status st;
	u64 val;

	st = check_mmx(e);
	if (st)
		return st;
	if (store) {
		st = e->ops->read_mmx(e, reg, &val);
		if (st)
			return st;
		if (mod_is_reg(e))
			return e->ops->write_mmx(e, rm, val);
		st = emu_mem_write(e, e->ea_seg, e->ea, 8, val);
		return st ? st : e->ops->write_mmx(e, reg, val);
	}
	st = mod_is_reg(e) ? e->ops->read_mmx(e, rm, &val) :
			     emu_mem_read(e, e->ea_seg, e->ea, 8, &val);
	return st ? st : e->ops->write_mmx(e, reg, val);
}

/* 0F 6F, 0F 7F: MOVQ of MMX, MOVDQA, MOVDQU */
enum emu_status emu_op_sse_mov_int(struct emu *e)
{
	if (mandatory_prefix(e) == 0)
		return mmx_move(e, e->insn.opcode == 0x7f);
	return sse_move(e);
}

/* 0F E7: MOVNTQ, MOVNTDQ */
enum emu_status emu_op_movnt_e7(struct emu *e)
{
	return mandatory_prefix(e) == 0 ? mmx_move(e, true) : sse_move(e);
}

/* 0F D6: MOVQ to memory; between MMX and XMM it is not done */
enum emu_status emu_op_movq_d6(struct emu *e)
{
	return sse_move(e);
}

/* Low (0) or high (8) half of a vector, by the opcode's bit 2 */
static enum emu_status half_move(struct emu *e)
{
	unsigned int at = e->insn.opcode & 4 ? 8 : 0;
	enum emu_status st;
	u8 buf[16];
	u64 val;

	st = e->ops->read_vec(e, modrm_reg(e), buf, 16);
	if (st)
		return st;
	if (e->insn.opcode & 1) {
		memcpy(&val, buf + at, 8);
		return emu_mem_write(e, e->ea_seg, e->ea, 8, val);
	}
	st = emu_mem_read(e, e->ea_seg, e->ea, 8, &val);
	if (st)
		return st;
	memcpy(buf + at, &val, 8);
	return e->ops->write_vec(e, modrm_reg(e), buf, 16, false);
}

/* 0F 12, 13, 16, 17 with memory: MOVLPS MOVLPD MOVHPS MOVHPD */
enum emu_status emu_op_mov_half(struct emu *e)
{
	enum emu_status st;

	if (mod_is_reg(e) || mandatory_prefix(e) > 1)
		return EMU_UNHANDLEABLE;
	st = check_sse(e, 0);
	return st ? st : half_move(e);
}

/* MOVD and MOVQ between a general register or memory and XMM. @vex: clear above */
static enum emu_status gpr_move(struct emu *e, bool vex)
{
	unsigned int size = e->insn.rex & EMU_REX_W && e->mode == EMU_MODE_64 ? 8 : 4;
	u8 buf[16] = {};
	enum emu_status st;
	u64 val = 0;

	if (e->insn.opcode == 0x7e) {
		st = e->ops->read_vec(e, modrm_reg(e), &val, size);
		return st ? st : emu_rm_write(e, size, val);
	}
	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	memcpy(buf, &val, 8);
	return e->ops->write_vec(e, modrm_reg(e), buf, 16, vex);
}

/* The same with MMX */
static enum emu_status gpr_mmx_move(struct emu *e)
{
	unsigned int size = e->insn.rex & EMU_REX_W ? 8 : 4;
	enum emu_status st;
	u64 val;

	st = check_mmx(e);
	if (st)
		return st;
	if (e->insn.opcode == 0x7e) {
		st = e->ops->read_mmx(e, modrm_ext(e), &val);
		if (st)
			return st;
		st = emu_rm_write(e, size, val);
		return st ? st : e->ops->write_mmx(e, modrm_ext(e), val);
	}
	st = emu_rm_read(e, size, &val);
	return st ? st : e->ops->write_mmx(e, modrm_ext(e), val);
}

/* 0F 6E, 0F 7E */
enum emu_status emu_op_mov_mmx_xmm(struct emu *e)
{
	unsigned int pp = mandatory_prefix(e);
	enum emu_status st;

	if (pp == 0)
		return gpr_mmx_move(e);
	if (pp != 1)
		return sse_move(e);
	st = check_sse(e, 0);
	return st ? st : gpr_move(e, false);
}

/* VEX forms of the moves above; those with three operands are left out */
enum emu_status emu_exec_vex(struct emu *e)
{
	struct vec_move m = classify(e);
	unsigned int size = m.size;
	enum emu_status st;

	if ((e->insn.prefixes & EMU_PFX_EVEX) || e->insn.map >= EMU_MAP_XOP8)
		return EMU_UNHANDLEABLE;
	if (e->insn.map == EMU_MAP_0F && (e->insn.opcode == 0x6e || e->insn.opcode == 0x7e) &&
	    e->insn.pp == 1) {
		st = check_avx(e);
		if (st)
			return st;
		return e->insn.vvvv || e->insn.vlen ? emu_ud(e) : gpr_move(e, true);
	}
	if (m.kind == MOVE_NONE || (m.reg_merge && mod_is_reg(e)))
		return EMU_UNHANDLEABLE;
	st = check_avx(e);
	if (st)
		return st;
	if (e->insn.vvvv)
		return emu_ud(e);
	if (e->insn.vlen && size == 8 && !m.reg_merge)
		return emu_ud(e);
	if (e->insn.vlen && size == 16) {
		if (e->insn.map == EMU_MAP_0F38 && !(e->features & EMU_FEAT_AVX2))
			return emu_ud(e);
		size = 32;
	}
	return vec_do(e, &m, size, true);
}

/* 0F 38 F0 and F1: MOVBE; with F2 they are CRC32 */
static enum emu_status movbe(struct emu *e)
{
	unsigned int size = e->insn.osize;
	enum emu_status st;
	u64 val;

	if (!(e->features & EMU_FEAT_MOVBE))
		return emu_ud(e);
	if (e->insn.opcode & 1) {
		val = __builtin_bswap64(emu_reg_read(e, modrm_reg(e), size)) >> (64 - 8 * size);
		return emu_rm_write(e, size, val);
	}
	st = emu_rm_read(e, size, &val);
	if (!st)
		emu_reg_write(e, modrm_reg(e), size, __builtin_bswap64(val) >> (64 - 8 * size));
	return st;
}

enum emu_status emu_exec_0f38(struct emu *e)
{
	if ((e->insn.opcode & 0xfe) == 0xf0 && !(e->insn.prefixes & (EMU_PFX_REP | EMU_PFX_REPNE)))
		return movbe(e);
	return sse_move(e);
}

/* FNSTCW and FNSTSW: all that firmware and kernels do with the x87 while probing. */
enum emu_status emu_op_x87(struct emu *e)
{
	bool stcw = e->insn.opcode == 0xd9 && !mod_is_reg(e) && modrm_ext(e) == 7;
	bool stsw = e->insn.opcode == 0xdd && !mod_is_reg(e) && modrm_ext(e) == 7;
	bool stsw_ax = e->insn.opcode == 0xdf && e->insn.modrm == 0xe0;
	enum emu_status st;
	u16 val;

	if (!stcw && !stsw && !stsw_ax)
		return EMU_UNHANDLEABLE;
	if (e->regs.cr0 & (CR0_EM | CR0_TS))
		return emu_raise(e, VEC_NM, false, 0);
	st = stcw ? e->ops->fnstcw(e, &val) : e->ops->fnstsw(e, &val);
	if (st)
		return st;
	if (!stsw_ax)
		return emu_rm_write(e, 2, val);
	emu_gpr_merge(e, RAX, 2, val);
	return EMU_OK;
}

/* A pending x87 exception is not ours to raise. */
enum emu_status emu_op_fwait(struct emu *e)
{
	enum emu_status st;
	u16 fsw;

	if ((e->regs.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		return emu_raise(e, VEC_NM, false, 0);
	st = e->ops->fnstsw(e, &fsw);
	if (st)
		return st;
	return fsw & FSW_ES ? EMU_UNHANDLEABLE : EMU_OK;
}
