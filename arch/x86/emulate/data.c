// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers that move data between registers and memory, and the small flag instructions.
 */
#include "exec.h"

enum emu_status emu_op_mov_rm_r(struct emu *e)
{
	unsigned int size = op_size(e);

	return emu_rm_write(e, size, emu_reg_read(e, modrm_reg(e), size));
}

enum emu_status emu_op_mov_r_rm(struct emu *e)
{
	unsigned int size = op_size(e);
	enum emu_status st;
	u64 val;

	st = emu_rm_read(e, size, &val);
	if (!st)
		emu_reg_write(e, modrm_reg(e), size, val);
	return st;
}

/* A0..A3: accumulator and an absolute offset */
enum emu_status emu_op_mov_moffs(struct emu *e)
{
	unsigned int seg = e->insn.seg == EMU_SEG_NONE ? EMU_DS : e->insn.seg;
	u64 off = (u64)e->insn.imm & emu_addr_mask(e);
	unsigned int size = op_size(e);
	enum emu_status st;
	u64 val;

	if (e->insn.opcode & 2)
		return emu_mem_write(e, seg, off, size, emu_reg_read(e, RAX, size));
	st = emu_mem_read(e, seg, off, size, &val);
	if (!st)
		emu_reg_write(e, RAX, size, val);
	return st;
}

enum emu_status emu_op_mov_reg_imm(struct emu *e)
{
	emu_reg_write(e, opcode_reg(e), e->insn.opcode & 8 ? e->insn.osize : 1, (u64)e->insn.imm);
	return EMU_OK;
}

/* C6, C7; XABORT and XBEGIN share the opcodes */
enum emu_status emu_op_mov_rm_imm(struct emu *e)
{
	if (modrm_ext(e))
		return EMU_UNHANDLEABLE;
	return emu_rm_write(e, op_size(e), (u64)e->insn.imm);
}

/* A register destination takes the operand size (zero-extended), memory always 16 bits. */
enum emu_status emu_op_mov_rm_sreg(struct emu *e)
{
	u16 sel = e->regs.seg[modrm_ext(e)].selector;

	return emu_rm_write(e, mod_is_reg(e) ? e->insn.osize : 2, sel);
}

enum emu_status emu_op_movzx(struct emu *e)
{
	enum emu_status st;
	u64 val;

	st = emu_rm_read(e, e->insn.opcode & 1 ? 2 : 1, &val);
	if (!st)
		emu_reg_write(e, modrm_reg(e), e->insn.osize, val);
	return st;
}

enum emu_status emu_op_movsx(struct emu *e)
{
	unsigned int size = e->insn.opcode & 1 ? 2 : 1;
	enum emu_status st;
	u64 val;

	st = emu_rm_read(e, size, &val);
	if (!st)
		emu_reg_write(e, modrm_reg(e), e->insn.osize, (u64)sign_extend(val, size));
	return st;
}

/* Without REX.W it is a plain move; a 16-bit form moves 16 bits, though AMD CPUs read 32. */
enum emu_status emu_op_movsxd(struct emu *e)
{
	unsigned int size = e->insn.osize == 2 && !e->amd ? 2 : 4;
	enum emu_status st;
	u64 val;

	st = emu_rm_read(e, size, &val);
	if (!st)
		emu_reg_write(e, modrm_reg(e), e->insn.osize, (u64)sign_extend(val, size));
	return st;
}

enum emu_status emu_op_movnti(struct emu *e)
{
	unsigned int size = e->insn.osize == 8 ? 8 : 4;

	if (mod_is_reg(e) || (e->insn.prefixes & (EMU_PFX_OPSIZE | EMU_PFX_REP | EMU_PFX_REPNE)))
		return emu_ud(e);
	return emu_rm_write(e, size, emu_reg_read(e, modrm_reg(e), size));
}

/* With memory it is locked, with or without the prefix. */
enum emu_status emu_op_xchg_rm(struct emu *e)
{
	unsigned int size = op_size(e);
	u64 val = emu_reg_read(e, modrm_reg(e), size);
	enum emu_status st;
	u64 old;

	st = emu_rmw_begin(e, size, &old);
	if (st)
		return st;
	st = emu_rmw_end(e, size, old, val, true);
	if (!st)
		emu_reg_write(e, modrm_reg(e), size, old);
	return st;
}

/*
 * 90 without REX.B is NOP and leaves the upper half of RAX alone; with F3 it is PAUSE, whatever
 * REX.B.
 */
enum emu_status emu_op_xchg_acc(struct emu *e)
{
	unsigned int reg = opcode_reg(e);
	unsigned int size = e->insn.osize;
	u64 val = emu_reg_read(e, reg, size);

	/* F3 90 is PAUSE; with REX.B on Intel CPUs only */
	if (reg == RAX ||
	    (e->insn.opcode == 0x90 && (e->insn.prefixes & EMU_PFX_REP) && !e->amd))
		return EMU_OK;
	emu_reg_write(e, reg, size, emu_reg_read(e, RAX, size));
	emu_reg_write(e, RAX, size, val);
	return EMU_OK;
}

enum emu_status emu_op_lea(struct emu *e)
{
	emu_reg_write(e, modrm_reg(e), e->insn.osize, e->ea);
	return EMU_OK;
}

/* CBW CWDE CDQE */
enum emu_status emu_op_cbw(struct emu *e)
{
	unsigned int half = e->insn.osize / 2;

	emu_gpr_merge(e, RAX, e->insn.osize, (u64)sign_extend(e->regs.gpr[RAX], half));
	return EMU_OK;
}

/* CWD CDQ CQO */
enum emu_status emu_op_cwd(struct emu *e)
{
	unsigned int size = e->insn.osize;

	emu_gpr_merge(e, RDX, size, e->regs.gpr[RAX] & sign_bit(size) ? ~0ull : 0);
	return EMU_OK;
}

/*
 * The source is read whether or not the condition holds, and a 32-bit destination is cleared
 * above.
 */
enum emu_status emu_op_cmov(struct emu *e)
{
	unsigned int size = e->insn.osize;
	enum emu_status st;
	u64 val;

	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	if (!emu_cond(e->insn.opcode, e->regs.rflags))
		val = emu_reg_read(e, modrm_reg(e), size);
	emu_reg_write(e, modrm_reg(e), size, val);
	return EMU_OK;
}

enum emu_status emu_op_setcc(struct emu *e)
{
	return emu_rm_write(e, 1, emu_cond(e->insn.opcode, e->regs.rflags));
}

/* The 16-bit form is undefined in the manuals; CPUs clear the register's low half. */
enum emu_status emu_op_bswap(struct emu *e)
{
	unsigned int reg = opcode_reg(e);
	u64 val = e->regs.gpr[reg];

	if (e->insn.osize == 2)
		val = 0;
	else if (e->insn.osize == 4)
		val = __builtin_bswap32((u32)val);
	else
		val = __builtin_bswap64(val);
	emu_gpr_merge(e, reg, e->insn.osize, val);
	return EMU_OK;
}

enum emu_status emu_op_xlat(struct emu *e)
{
	unsigned int seg = e->insn.seg == EMU_SEG_NONE ? EMU_DS : e->insn.seg;
	enum emu_status st;
	u64 val;

	st = emu_mem_read(e, seg, (e->regs.gpr[RBX] + (u8)e->regs.gpr[RAX]) & emu_addr_mask(e), 1,
			  &val);
	if (!st)
		emu_gpr_merge(e, RAX, 1, val);
	return st;
}

enum emu_status emu_op_salc(struct emu *e)
{
	emu_gpr_merge(e, RAX, 1, e->regs.rflags & FL_CF ? 0xff : 0);
	return EMU_OK;
}

static bool lahf_exists(const struct emu *e)
{
	return e->mode != EMU_MODE_64 || (e->features & EMU_FEAT_LAHF_LM);
}

enum emu_status emu_op_lahf(struct emu *e)
{
	u64 flags = e->regs.rflags & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF);

	if (!lahf_exists(e))
		return emu_ud(e);
	e->regs.gpr[RAX] = (e->regs.gpr[RAX] & ~0xff00ull) | (flags | FL_ONE) << 8;
	return EMU_OK;
}

enum emu_status emu_op_sahf(struct emu *e)
{
	const u64 mask = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF;

	if (!lahf_exists(e))
		return emu_ud(e);
	e->regs.rflags = (e->regs.rflags & ~mask) | (e->regs.gpr[RAX] >> 8 & mask);
	return EMU_OK;
}

/* CMC CLC STC CLD STD */
enum emu_status emu_op_flag_op(struct emu *e)
{
	u64 *flags = &e->regs.rflags;

	switch (e->insn.opcode) {
	case 0xf5:
		*flags ^= FL_CF;
		break;
	case 0xf8:
		*flags &= ~(u64)FL_CF;
		break;
	case 0xf9:
		*flags |= FL_CF;
		break;
	case 0xfc:
		*flags &= ~(u64)FL_DF;
		break;
	default:
		*flags |= FL_DF;
		break;
	}
	return EMU_OK;
}

enum emu_status emu_op_nop(struct emu *e)
{
	(void)e;
	return EMU_OK;
}

/*
 * Hint NOPs and prefetches touch nothing.  Where shadow stacks are on, F3 0F 1E is RDSSP, and
 * ENDBR matters: not ours.
 */
enum emu_status emu_op_nop_modrm(struct emu *e)
{
	if (e->insn.opcode == 0x1e && (e->regs.cr4 & CR4_CET))
		return EMU_UNHANDLEABLE;
	/* AMD's PREFETCH and PREFETCHW take memory only; for Intel the register forms are NOPs */
	if (e->insn.opcode == 0x0d && e->amd && mod_is_reg(e))
		return emu_ud(e);
	return EMU_OK;
}

static unsigned int load_far_seg(const struct emu *e)
{
	if (!e->insn.map)
		return e->insn.opcode == 0xc4 ? EMU_ES : EMU_DS;
	return e->insn.opcode == 0xb2 ? EMU_SS : e->insn.opcode & 7;
}

/* A selector and an offset into a segment register and a general one: LES LDS LSS LFS LGS */
enum emu_status emu_op_load_far(struct emu *e)
{
	unsigned int nr = load_far_seg(e);
	unsigned int size = e->insn.osize;
	struct emu_seg seg;
	enum emu_status st;
	u64 off, sel;

	if (size == 8 && e->amd)
		size = 4;
	st = emu_mem_read(e, e->ea_seg, e->ea, size, &off);
	if (st)
		return st;
	st = emu_mem_read(e, e->ea_seg, (e->ea + size) & emu_addr_mask(e), 2, &sel);
	if (st)
		return st;
	st = emu_seg_check(e, nr, (u16)sel, e->cpl, VEC_GP, &seg);
	if (st)
		return st;
	e->regs.seg[nr] = seg;
	emu_reg_write(e, modrm_reg(e), size, off);
	return EMU_OK;
}

/* 8E: MOV Sreg */
enum emu_status emu_op_mov_sreg_rm(struct emu *e)
{
	unsigned int nr = modrm_ext(e);
	struct emu_seg seg;
	enum emu_status st;
	u64 sel;

	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	st = emu_seg_check(e, nr, (u16)sel, e->cpl, VEC_GP, &seg);
	if (st)
		return st;
	e->regs.seg[nr] = seg;
	if (nr == EMU_SS)
		e->shadow = EMU_SHADOW_MOV_SS;
	return EMU_OK;
}
