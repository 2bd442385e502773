// SPDX-License-Identifier: GPL-2.0
/*
 * Stack instructions.
 *
 * Pushes and pops work on a copy of RSP, which enters the register when the last access is done.
 */
#include "exec.h"

/* Size of the stack pointer: 8, 4 or 2 */
unsigned int emu_stack_size(const struct emu *e)
{
	if (e->mode == EMU_MODE_64)
		return 8;
	return e->regs.seg[EMU_SS].db ? 4 : 2;
}

u64 emu_stack_mask(const struct emu *e)
{
	return size_mask(emu_stack_size(e));
}

void emu_set_rsp(struct emu *e, u64 rsp)
{
	emu_gpr_merge(e, RSP, emu_stack_size(e), rsp);
}

/* Write below *@rsp and move it */
enum emu_status emu_push_at(struct emu *e, u64 *rsp, unsigned int size, u64 val)
{
	u64 top = (*rsp - size) & emu_stack_mask(e);
	enum emu_status st;

	st = emu_mem_write(e, EMU_SS, top, size, val);
	if (!st)
		*rsp = top;
	return st;
}

/* Read at *@rsp and move it */
enum emu_status emu_pop_at(struct emu *e, u64 *rsp, unsigned int size, u64 *val)
{
	u64 mask = emu_stack_mask(e);
	enum emu_status st;

	st = emu_mem_read(e, EMU_SS, *rsp & mask, size, val);
	if (!st)
		*rsp = (*rsp + size) & mask;
	return st;
}

static enum emu_status push(struct emu *e, u64 val)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;

	st = emu_push_at(e, &rsp, e->insn.osize, val);
	if (!st)
		emu_set_rsp(e, rsp);
	return st;
}

enum emu_status emu_op_push_reg(struct emu *e)
{
	return push(e, e->regs.gpr[opcode_reg(e)]);
}

enum emu_status emu_op_push_imm(struct emu *e)
{
	return push(e, (u64)e->insn.imm);
}

/* POP rSP: the popped value wins over the increment */
enum emu_status emu_op_pop_reg(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 val;

	st = emu_pop_at(e, &rsp, e->insn.osize, &val);
	if (st)
		return st;
	emu_set_rsp(e, rsp);
	emu_gpr_merge(e, opcode_reg(e), e->insn.osize, val);
	return EMU_OK;
}

/* An address based on rSP is computed with rSP already incremented. */
enum emu_status emu_op_pop_rm(struct emu *e)
{
	u64 old = e->regs.gpr[RSP];
	u64 rsp = old;
	enum emu_status st;
	u64 val;

	st = emu_pop_at(e, &rsp, e->insn.osize, &val);
	if (st)
		return st;
	emu_set_rsp(e, rsp);
	if (!mod_is_reg(e))
		emu_set_ea(e);
	st = emu_rm_write(e, e->insn.osize, val);
	if (st)
		e->regs.gpr[RSP] = old;
	return st;
}

/* ES CS SS DS by bits 3..4 of one-byte opcodes, FS GS by bit 3 of the others */
static unsigned int opcode_seg(const struct emu *e)
{
	if (e->insn.map)
		return e->insn.opcode & 8 ? EMU_GS : EMU_FS;
	return e->insn.opcode >> 3 & 3;
}

/* The selector is zero-extended, but Intel CPUs write only 16 bits of a 32-bit slot. */
enum emu_status emu_op_push_seg(struct emu *e)
{
	u16 sel = e->regs.seg[opcode_seg(e)].selector;
	enum emu_status st;
	u64 top;

	if (e->amd || e->insn.osize != 4)
		return push(e, sel);
	top = (e->regs.gpr[RSP] - e->insn.osize) & emu_stack_mask(e);
	st = emu_mem_write(e, EMU_SS, top, 2, sel);
	if (!st)
		emu_set_rsp(e, top);
	return st;
}

enum emu_status emu_op_pop_seg(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	unsigned int nr = opcode_seg(e);
	struct emu_seg seg;
	enum emu_status st;
	u64 sel;

	st = emu_pop_at(e, &rsp, e->insn.osize, &sel);
	if (st)
		return st;
	st = emu_seg_check(e, nr, (u16)sel, e->cpl, VEC_GP, &seg);
	if (st)
		return st;
	/* The increment is of the stack that was popped from */
	emu_set_rsp(e, rsp);
	e->regs.seg[nr] = seg;
	if (nr == EMU_SS)
		e->shadow = EMU_SHADOW_MOV_SS;
	return EMU_OK;
}

enum emu_status emu_op_pusha(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		st = emu_push_at(e, &rsp, e->insn.osize, e->regs.gpr[i]);
		if (st)
			return st;
	}
	emu_set_rsp(e, rsp);
	return EMU_OK;
}

enum emu_status emu_op_popa(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	unsigned int i;
	u64 val[8];

	for (i = 8; i-- > 0;) {
		st = emu_pop_at(e, &rsp, e->insn.osize, &val[i]);
		if (st)
			return st;
	}
	for (i = 0; i < 8; i++) {
		if (i != RSP)
			emu_gpr_merge(e, i, e->insn.osize, val[i]);
	}
	emu_set_rsp(e, rsp);
	return EMU_OK;
}

/*
 * PUSHF and POPF in virtual-8086 mode below IOPL 3 work on VIF if VME is on, and only with 16
 * bits.
 */
static bool vme_flags(const struct emu *e)
{
	return in_v86(e) && iopl(e) < 3;
}

enum emu_status emu_op_pushf(struct emu *e)
{
	u64 flags = e->regs.rflags & ~(u64)(FL_RF | FL_VM);

	if (vme_flags(e)) {
		if (!(e->regs.cr4 & CR4_VME) || e->insn.osize != 2)
			return emu_gp(e, 0);
		flags = (flags | FL_IOPL) & ~(u64)FL_IF;
		flags |= e->regs.rflags & FL_VIF ? FL_IF : 0;
	}
	return push(e, flags);
}

/* POPF with VME: IF of the image goes to VIF */
static enum emu_status popf_vme(struct emu *e, u64 rsp, u64 val)
{
	const u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if ((val & FL_TF) || ((val & FL_IF) && (e->regs.rflags & FL_VIP)))
		return emu_gp(e, 0);
	e->regs.rflags = emu_flags_merge(e->regs.rflags, val, mask) & ~(u64)FL_VIF;
	e->regs.rflags |= val & FL_IF ? FL_VIF : 0;
	emu_set_rsp(e, rsp);
	return EMU_OK;
}

enum emu_status emu_op_popf(struct emu *e)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID;
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 val;

	if (vme_flags(e) && (!(e->regs.cr4 & CR4_VME) || e->insn.osize != 2))
		return emu_gp(e, 0);
	st = emu_pop_at(e, &rsp, e->insn.osize, &val);
	if (st)
		return st;
	if (vme_flags(e))
		return popf_vme(e, rsp, val);
	if (!in_v86(e) && e->cpl == 0)
		mask |= FL_IOPL;
	if (e->cpl <= iopl(e))
		mask |= FL_IF;
	if (e->insn.osize == 2)
		mask &= 0xffff;
	e->regs.rflags = emu_flags_merge(e->regs.rflags, val, mask);
	emu_set_rsp(e, rsp);
	return EMU_OK;
}

/* Copy the outer frame pointers of nested procedures */
static enum emu_status enter_copy(struct emu *e, u64 *rsp, unsigned int level)
{
	unsigned int size = e->insn.osize;
	u64 rbp = e->regs.gpr[RBP];
	enum emu_status st;
	u64 val;

	while (--level) {
		rbp -= size;
		st = emu_mem_read(e, EMU_SS, rbp & emu_stack_mask(e), size, &val);
		if (st)
			return st;
		st = emu_push_at(e, rsp, size, val);
		if (st)
			return st;
	}
	return EMU_OK;
}

enum emu_status emu_op_enter(struct emu *e)
{
	unsigned int level = e->insn.imm2 & 31;
	unsigned int size = e->insn.osize;
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 frame;

	st = emu_push_at(e, &rsp, size, e->regs.gpr[RBP]);
	if (st)
		return st;
	frame = rsp;
	if (level) {
		st = enter_copy(e, &rsp, level);
		if (st)
			return st;
		st = emu_push_at(e, &rsp, size, frame);
		if (st)
			return st;
	}
	rsp = (rsp - (u16)e->insn.imm) & emu_stack_mask(e);
	/* The last stack pointer must be good for a write, although none happens */
	st = emu_mem_probe(e, EMU_SS, rsp, size);
	if (st)
		return st;
	emu_gpr_merge(e, RBP, size, frame);
	emu_set_rsp(e, rsp);
	return EMU_OK;
}

enum emu_status emu_op_leave(struct emu *e)
{
	u64 rsp = e->regs.gpr[RBP];
	enum emu_status st;
	u64 val;

	st = emu_pop_at(e, &rsp, e->insn.osize, &val);
	if (st)
		return st;
	emu_gpr_merge(e, RBP, e->insn.osize, val);
	emu_set_rsp(e, rsp);
	return EMU_OK;
}
