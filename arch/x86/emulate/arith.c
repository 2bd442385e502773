// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers of integer arithmetic, logic, shifts and bit operations.
 */
#include "exec.h"

static bool locked(const struct emu *e)
{
	return e->insn.prefixes & EMU_PFX_LOCK;
}

/* dst = dst op b, for all but CMP, which writes nothing */
static enum emu_status alu_to_rm(struct emu *e, unsigned int op, u64 b, unsigned int size)
{
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 a, res;

	st = op == ALU_CMP ? emu_rm_read(e, size, &a) : emu_rmw_begin(e, size, &a);
	if (st)
		return st;
	res = emu_alu(op, a, b, size, &flags);
	if (op != ALU_CMP) {
		st = emu_rmw_end(e, size, a, res, locked(e));
		if (st)
			return st;
	}
	e->regs.rflags = flags;
	return EMU_OK;
}

static enum emu_status alu_to_reg(struct emu *e, unsigned int op, unsigned int reg, u64 b,
				  unsigned int size)
{
	u64 res = emu_alu(op, emu_reg_read(e, reg, size), b, size, &e->regs.rflags);

	if (op != ALU_CMP)
		emu_reg_write(e, reg, size, res);
	return EMU_OK;
}

enum emu_status emu_op_alu_rm_r(struct emu *e)
{
	unsigned int size = op_size(e);

	return alu_to_rm(e, e->insn.opcode >> 3 & 7, emu_reg_read(e, modrm_reg(e), size), size);
}

enum emu_status emu_op_alu_r_rm(struct emu *e)
{
	unsigned int size = op_size(e);
	enum emu_status st;
	u64 b;

	st = emu_rm_read(e, size, &b);
	if (st)
		return st;
	return alu_to_reg(e, e->insn.opcode >> 3 & 7, modrm_reg(e), b, size);
}

enum emu_status emu_op_alu_acc_imm(struct emu *e)
{
	return alu_to_reg(e, e->insn.opcode >> 3 & 7, RAX, (u64)e->insn.imm, op_size(e));
}

enum emu_status emu_op_grp1(struct emu *e)
{
	return alu_to_rm(e, modrm_ext(e), (u64)e->insn.imm, op_size(e));
}

static enum emu_status test_rm(struct emu *e, u64 b, unsigned int size)
{
	enum emu_status st;
	u64 a;

	st = emu_rm_read(e, size, &a);
	if (!st)
		emu_flags_logic(a & b, size, &e->regs.rflags);
	return st;
}

enum emu_status emu_op_test_rm_r(struct emu *e)
{
	unsigned int size = op_size(e);

	return test_rm(e, emu_reg_read(e, modrm_reg(e), size), size);
}

enum emu_status emu_op_test_acc_imm(struct emu *e)
{
	unsigned int size = op_size(e);

	emu_flags_logic(emu_reg_read(e, RAX, size) & (u64)e->insn.imm, size, &e->regs.rflags);
	return EMU_OK;
}

enum emu_status emu_op_incdec_reg(struct emu *e)
{
	unsigned int size = e->insn.osize;
	unsigned int reg = e->insn.opcode & 7;
	u64 val = emu_reg_read(e, reg, size);

	emu_reg_write(e, reg, size, emu_incdec(e->insn.opcode & 8, val, size, &e->regs.rflags));
	return EMU_OK;
}

/* INC, DEC, NOT, NEG: one operand, read and written */
static enum emu_status unary(struct emu *e, unsigned int size, unsigned int which)
{
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 a, res;

	st = emu_rmw_begin(e, size, &a);
	if (st)
		return st;
	if (which == 2)
		res = ~a;
	else if (which == 3)
		res = emu_alu(ALU_SUB, 0, a, size, &flags);
	else
		res = emu_incdec(which == 1, a, size, &flags);
	st = emu_rmw_end(e, size, a, res, locked(e));
	if (!st)
		e->regs.rflags = flags;
	return st;
}

/* FE, and FF /0 and /1 */
enum emu_status emu_op_grp4(struct emu *e)
{
	return unary(e, op_size(e), modrm_ext(e));
}

/* Products and dividends of bytes are in AX, others in rDX:rAX */
static void write_pair(struct emu *e, unsigned int size, u64 lo, u64 hi)
{
	if (size == 1) {
		emu_gpr_merge(e, RAX, 2, lo | hi << 8);
	} else {
		emu_gpr_merge(e, RAX, size, lo);
		emu_gpr_merge(e, RDX, size, hi);
	}
}

static enum emu_status mul_acc(struct emu *e, unsigned int size, u64 b, bool is_signed)
{
	u64 a = e->regs.gpr[RAX] & size_mask(size);
	u64 lo, hi;

	if (is_signed)
		emu_imul(a, b, size, &lo, &hi, &e->regs.rflags);
	else
		emu_mul(a, b, size, &lo, &hi, &e->regs.rflags);
	write_pair(e, size, lo, hi);
	return EMU_OK;
}

static enum emu_status div_acc(struct emu *e, unsigned int size, u64 by, bool is_signed)
{
	u64 lo = e->regs.gpr[RAX] & size_mask(size);
	u64 hi = size == 1 ? e->regs.gpr[RAX] >> 8 & 0xff : e->regs.gpr[RDX] & size_mask(size);
	u64 quot, rem;
	bool fits;

	fits = is_signed ? emu_idiv(hi, lo, by, size, &quot, &rem) :
			   emu_div(hi, lo, by, size, &quot, &rem);
	if (!fits)
		return emu_raise(e, VEC_DE, false, 0);
	write_pair(e, size, quot, rem);
	return EMU_OK;
}

/* F6, F7 */
enum emu_status emu_op_grp3(struct emu *e)
{
	unsigned int size = op_size(e);
	unsigned int op = modrm_ext(e);
	enum emu_status st;
	u64 val;

	if (op < 2)
		return test_rm(e, (u64)e->insn.imm, size);
	if (op < 4)
		return unary(e, size, op);
	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	return op < 6 ? mul_acc(e, size, val, op == 5) : div_acc(e, size, val, op == 7);
}

static enum emu_status shift_rm(struct emu *e, unsigned int count)
{
	unsigned int size = op_size(e);
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 a, res;

	st = emu_rmw_begin(e, size, &a);
	if (st)
		return st;
	res = emu_shift(modrm_ext(e), a, count, size, &flags);
	st = emu_rmw_end(e, size, a, res, false);
	if (!st)
		e->regs.rflags = flags;
	return st;
}

enum emu_status emu_op_shift_imm(struct emu *e)
{
	return shift_rm(e, (u8)e->insn.imm);
}

enum emu_status emu_op_shift_1(struct emu *e)
{
	return shift_rm(e, 1);
}

enum emu_status emu_op_shift_cl(struct emu *e)
{
	return shift_rm(e, (u8)e->regs.gpr[RCX]);
}

static enum emu_status imul_to_reg(struct emu *e, u64 b, bool three)
{
	unsigned int size = e->insn.osize;
	enum emu_status st;
	u64 a, lo, hi;

	st = emu_rm_read(e, size, &a);
	if (st)
		return st;
	if (!three)
		b = emu_reg_read(e, modrm_reg(e), size);
	emu_imul(a, b & size_mask(size), size, &lo, &hi, &e->regs.rflags);
	emu_reg_write(e, modrm_reg(e), size, lo);
	return EMU_OK;
}

enum emu_status emu_op_imul_r_rm(struct emu *e)
{
	return imul_to_reg(e, 0, false);
}

enum emu_status emu_op_imul_r_rm_imm(struct emu *e)
{
	return imul_to_reg(e, (u64)e->insn.imm, true);
}

static enum emu_status double_shift(struct emu *e, unsigned int count)
{
	unsigned int size = e->insn.osize;
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 a, res;

	st = emu_rmw_begin(e, size, &a);
	if (st)
		return st;
	res = emu_double_shift(e->insn.opcode >= 0xac, a, emu_reg_read(e, modrm_reg(e), size),
			       count, size, &flags);
	st = emu_rmw_end(e, size, a, res, false);
	if (!st)
		e->regs.rflags = flags;
	return st;
}

enum emu_status emu_op_shld_imm(struct emu *e)
{
	return double_shift(e, (u8)e->insn.imm);
}

enum emu_status emu_op_shld_cl(struct emu *e)
{
	return double_shift(e, (u8)e->regs.gpr[RCX]);
}

/* BT, BTS, BTR, BTC (@op 0..3) of bit @bit of the operand */
static enum emu_status bit_op(struct emu *e, unsigned int op, unsigned int bit)
{
	unsigned int size = e->insn.osize;
	u64 mask = 1ull << bit;
	enum emu_status st;
	u64 a, res;

	st = op ? emu_rmw_begin(e, size, &a) : emu_rm_read(e, size, &a);
	if (st)
		return st;
	if (op) {
		res = op == 1 ? a | mask : op == 2 ? a & ~mask : a ^ mask;
		st = emu_rmw_end(e, size, a, res, locked(e));
		if (st)
			return st;
	}
	e->regs.rflags = (e->regs.rflags & ~(u64)FL_CF) | (a & mask ? FL_CF : 0);
	return EMU_OK;
}

/* The register form of the bit number reaches memory on both sides of the operand. */
enum emu_status emu_op_bt_r(struct emu *e)
{
	unsigned int size = e->insn.osize;
	s64 bit = sign_extend(emu_reg_read(e, modrm_reg(e), size), size);

	if (!mod_is_reg(e)) {
		s64 unit = bit >> (size == 8 ? 6 : size == 4 ? 5 : 4);

		e->ea = (e->ea + (u64)unit * size) & emu_addr_mask(e);
	}
	return bit_op(e, e->insn.opcode >> 3 & 3, (unsigned int)bit & (8 * size - 1));
}

enum emu_status emu_op_bt_imm(struct emu *e)
{
	return bit_op(e, modrm_ext(e) & 3, (unsigned int)e->insn.imm & (8u * e->insn.osize - 1));
}

static unsigned int lowest_bit(u64 val)
{
	return (unsigned int)__builtin_ctzll(val);
}

static unsigned int highest_bit(u64 val)
{
	return 63 - (unsigned int)__builtin_clzll(val);
}

static void set_cf_zf(struct emu *e, bool cf, bool zf)
{
	e->regs.rflags &= ~(u64)(FL_CF | FL_ZF);
	e->regs.rflags |= (cf ? FL_CF : 0) | (zf ? FL_ZF : 0);
}

/* BSF and TZCNT, BSR and LZCNT: F3 selects the latter where the CPU has them. */
static enum emu_status bit_scan(struct emu *e, bool reverse, bool count)
{
	unsigned int size = e->insn.osize;
	enum emu_status st;
	u64 val, res;

	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	if (!val && !count) {
		/* The destination keeps its value, as AMD documents and Intel does */
		set_cf_zf(e, e->regs.rflags & FL_CF, true);
		return EMU_OK;
	}
	if (!val)
		res = 8 * size;
	else if (!reverse)
		res = lowest_bit(val);
	else
		res = count ? 8 * size - 1 - highest_bit(val) : highest_bit(val);
	emu_reg_write(e, modrm_reg(e), size, res);
	set_cf_zf(e, count ? !val : !!(e->regs.rflags & FL_CF), count && !res);
	return EMU_OK;
}

enum emu_status emu_op_bsf(struct emu *e)
{
	return bit_scan(e, false,
			(e->insn.prefixes & EMU_PFX_REP) && (e->features & EMU_FEAT_BMI1));
}

enum emu_status emu_op_bsr(struct emu *e)
{
	return bit_scan(e, true,
			(e->insn.prefixes & EMU_PFX_REP) && (e->features & EMU_FEAT_LZCNT));
}

enum emu_status emu_op_popcnt(struct emu *e)
{
	unsigned int size = e->insn.osize;
	unsigned int count = 0;
	enum emu_status st;
	u64 val;

	if (!(e->features & EMU_FEAT_POPCNT))
		return emu_ud(e);
	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	e->regs.rflags = (e->regs.rflags & ~(u64)FL_ARITH) | (val ? 0 : FL_ZF);
	for (; val; val &= val - 1)
		count++;
	emu_reg_write(e, modrm_reg(e), size, count);
	return EMU_OK;
}

/* The destination is written in either case. */
enum emu_status emu_op_cmpxchg(struct emu *e)
{
	unsigned int size = op_size(e);
	u64 acc = emu_reg_read(e, RAX, size);
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 old, val;

	st = emu_rmw_begin(e, size, &old);
	if (st)
		return st;
	emu_alu(ALU_CMP, acc, old, size, &flags);
	val = flags & FL_ZF ? emu_reg_read(e, modrm_reg(e), size) : old;
	if (mod_is_reg(e) && !(flags & FL_ZF)) {
		/* Nothing is written: the upper half of a 32-bit destination stays */
		emu_gpr_merge(e, RAX, size, old);
		e->regs.rflags = flags;
		return EMU_OK;
	}
	st = emu_rmw_end(e, size, old, val, locked(e));
	if (st)
		return st;
	if (!(flags & FL_ZF))
		emu_gpr_merge(e, RAX, size, old);
	e->regs.rflags = flags;
	return EMU_OK;
}

/* CMPXCHG8B and CMPXCHG16B: always through cmpxchg when locked, as one access else */
static enum emu_status cmpxchg_wide(struct emu *e)
{
	unsigned int half = e->insn.osize == 8 ? 8 : 4;
	u8 old[16], val[16], want[16];
	enum emu_status st;
	bool same;

	if (half == 8 && !(e->features & EMU_FEAT_CX16))
		return emu_ud(e);
	st = emu_linear(e, e->ea_seg, e->ea, 2 * half, true, &e->linear);
	if (st)
		return st;
	if (half == 8 && (e->linear & 15))
		return emu_gp(e, 0);
	st = emu_check_align(e, e->linear, 8);
	if (st)
		return st;
	st = emu_linear_read(e, e->linear, old, 2 * half, EMU_ACC_WRITE);
	if (st)
		return st;
	memcpy(want, &e->regs.gpr[RAX], half);
	memcpy(want + half, &e->regs.gpr[RDX], half);
	same = !memcmp(want, old, 2 * half);
	memcpy(val, same ? (void *)&e->regs.gpr[RBX] : old, half);
	memcpy(val + half, same ? (void *)&e->regs.gpr[RCX] : old + half, half);
	st = locked(e) ? e->ops->cmpxchg(e, e->linear, old, val, 2 * half, 0) :
			 emu_linear_write(e, e->linear, val, 2 * half, 0);
	if (st)
		return st;
	if (!same) {
		e->regs.gpr[RAX] = e->regs.gpr[RDX] = 0;
		memcpy(&e->regs.gpr[RAX], old, half);
		memcpy(&e->regs.gpr[RDX], old + half, half);
	}
	e->regs.rflags = (e->regs.rflags & ~(u64)FL_ZF) | (same ? FL_ZF : 0);
	return EMU_OK;
}

/* 0F C7; RDRAND, RDSEED, XSAVEC and VMX pointers are not executed here, RDPID is */
enum emu_status emu_op_grp9(struct emu *e)
{
	enum emu_status st;
	u64 val;

	if (!mod_is_reg(e) && modrm_ext(e) == 1)
		return cmpxchg_wide(e);
	if (mod_is_reg(e) && modrm_ext(e) == 7 && (e->insn.prefixes & EMU_PFX_REP)) {
		if (!(e->features & EMU_FEAT_RDPID))
			return emu_ud(e);
		st = e->ops->rdmsr(e, MSR_IA32_TSC_AUX, &val);
		if (!st)
			emu_gpr_merge(e, modrm_rm(e), 8, (u32)val);
		return st;
	}
	return EMU_UNHANDLEABLE;
}

enum emu_status emu_op_xadd(struct emu *e)
{
	unsigned int size = op_size(e);
	u64 b = emu_reg_read(e, modrm_reg(e), size);
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 a, res;

	st = emu_rmw_begin(e, size, &a);
	if (st)
		return st;
	res = emu_alu(ALU_ADD, a, b, size, &flags);
	if (mod_is_reg(e)) {
		/* The sum goes last: it wins where both operands are one register */
		emu_reg_write(e, modrm_reg(e), size, a);
		emu_reg_write(e, modrm_rm(e), size, res);
	} else {
		st = emu_rmw_end(e, size, a, res, locked(e));
		if (st)
			return st;
		emu_reg_write(e, modrm_reg(e), size, a);
	}
	e->regs.rflags = flags;
	return EMU_OK;
}

static void decimal_adjust(struct emu *e, bool sub)
{
	u64 flags = e->regs.rflags;
	u8 old = (u8)e->regs.gpr[RAX];
	bool af = (old & 0xf) > 9 || (flags & FL_AF);
	bool cf = old > 0x99 || (flags & FL_CF);
	u8 al = old;

	if (sub) {
		if (af) {
			/* A borrow out of the low digit's correction reaches CF too */
			cf = cf || old < 6;
			al -= 6;
		}
		if (old > 0x99 || (flags & FL_CF))
			al -= 0x60;
	} else {
		if (af)
			al += 6;
		if (cf)
			al += 0x60;
	}
	emu_flags_logic(al, 1, &flags);
	flags |= (af ? FL_AF : 0) | (cf ? FL_CF : 0);
	emu_gpr_merge(e, RAX, 1, al);
	e->regs.rflags = flags;
}

static void ascii_adjust(struct emu *e, bool sub)
{
	u64 flags = e->regs.rflags;
	u16 ax = (u16)e->regs.gpr[RAX];
	bool adjust = (ax & 0xf) > 9 || (flags & FL_AF);

	if (adjust)
		ax = (u16)(sub ? ax - 0x106 : ax + 0x106);
	ax &= 0xff0f;
	emu_flags_logic(ax, 1, &flags);
	if (adjust)
		flags |= FL_AF | FL_CF;
	emu_gpr_merge(e, RAX, 2, ax);
	e->regs.rflags = flags;
}

/* DAA DAS AAA AAS */
enum emu_status emu_op_bcd_adjust(struct emu *e)
{
	bool sub = e->insn.opcode & 8;

	if (e->insn.opcode < 0x30)
		decimal_adjust(e, sub);
	else
		ascii_adjust(e, sub);
	return EMU_OK;
}

enum emu_status emu_op_aam(struct emu *e)
{
	u8 base = (u8)e->insn.imm;
	u8 al = (u8)e->regs.gpr[RAX];

	if (!base)
		return emu_raise(e, VEC_DE, false, 0);
	emu_gpr_merge(e, RAX, 2, (u64)(al / base) << 8 | al % base);
	emu_flags_logic(al % base, 1, &e->regs.rflags);
	return EMU_OK;
}

enum emu_status emu_op_aad(struct emu *e)
{
	u16 ax = (u16)e->regs.gpr[RAX];
	u8 al = (u8)(ax + (ax >> 8) * (u8)e->insn.imm);

	emu_gpr_merge(e, RAX, 2, al);
	emu_flags_logic(al, 1, &e->regs.rflags);
	return EMU_OK;
}
