// SPDX-License-Identifier: GPL-2.0
/*
 * String instructions: one iteration at a time.
 *
 * With a REP prefix, a count of zero does nothing; otherwise one element is moved, the count goes
 * down, and if iterations remain RIP stays and RF is set, as in the image that an interrupt
 * between iterations would push.
 */
#include "exec.h"

static unsigned int src_seg(const struct emu *e)
{
	return e->insn.seg == EMU_SEG_NONE ? EMU_DS : e->insn.seg;
}

static u64 index_reg(const struct emu *e, unsigned int reg)
{
	return e->regs.gpr[reg] & emu_addr_mask(e);
}

static void advance(struct emu *e, unsigned int reg, unsigned int size)
{
	u64 step = e->regs.rflags & FL_DF ? -(u64)size : size;

	emu_gpr_merge(e, reg, e->insn.asize, e->regs.gpr[reg] + step);
}

static bool has_rep(const struct emu *e)
{
	return e->insn.prefixes & (EMU_PFX_REP | EMU_PFX_REPNE);
}

/*
 * Nothing to do? Intel CPUs write a 32-bit count back all the same, which clears the upper half.
 */
static bool count_is_zero(struct emu *e)
{
	if (!has_rep(e) || index_reg(e, RCX))
		return false;
	if (!e->amd)
		emu_gpr_merge(e, RCX, e->insn.asize, 0);
	return true;
}

/*
 * After an element: count down, and stay at the instruction while iterations remain. @go_on: the
 * flags permit it
 */
static enum emu_status next_iteration(struct emu *e, bool go_on)
{
	if (!has_rep(e))
		return EMU_OK;
	emu_gpr_merge(e, RCX, e->insn.asize, e->regs.gpr[RCX] - 1);
	if (go_on && index_reg(e, RCX)) {
		e->next_rip = e->regs.rip;
		e->repeat = true;
	}
	return EMU_OK;
}

/*
 * CMPS and SCAS go on while ZF is as the prefix says.  Between iterations RFLAGS stays as before
 * the instruction on Intel CPUs, and has the last comparison's flags on AMD CPUs.
 */
static enum emu_status next_compare(struct emu *e, u64 flags)
{
	bool zf = flags & FL_ZF;

	next_iteration(e, zf == !!(e->insn.prefixes & EMU_PFX_REP));
	if (!e->repeat || e->amd)
		e->regs.rflags = flags;
	return EMU_OK;
}

enum emu_status emu_op_movs(struct emu *e)
{
	unsigned int size = op_size(e);
	enum emu_status st;
	u64 val;

	if (count_is_zero(e))
		return EMU_OK;
	st = emu_mem_read(e, src_seg(e), index_reg(e, RSI), size, &val);
	if (st)
		return st;
	st = emu_mem_write(e, EMU_ES, index_reg(e, RDI), size, val);
	if (st)
		return st;
	advance(e, RSI, size);
	advance(e, RDI, size);
	return next_iteration(e, true);
}

enum emu_status emu_op_cmps(struct emu *e)
{
	unsigned int size = op_size(e);
	u64 flags = e->regs.rflags;
	enum emu_status st = EMU_OK;
	u64 a, b;

	if (count_is_zero(e))
		return EMU_OK;
	/* In the order that CPUs show by their page faults: Intel's read the ES operand first */
	if (e->amd)
		st = emu_mem_read(e, src_seg(e), index_reg(e, RSI), size, &a);
	if (!st)
		st = emu_mem_read(e, EMU_ES, index_reg(e, RDI), size, &b);
	if (!st && !e->amd)
		st = emu_mem_read(e, src_seg(e), index_reg(e, RSI), size, &a);
	if (st)
		return st;
	emu_alu(ALU_CMP, a, b, size, &flags);
	advance(e, RSI, size);
	advance(e, RDI, size);
	return next_compare(e, flags);
}

enum emu_status emu_op_stos(struct emu *e)
{
	unsigned int size = op_size(e);
	enum emu_status st;

	if (count_is_zero(e))
		return EMU_OK;
	st = emu_mem_write(e, EMU_ES, index_reg(e, RDI), size, emu_reg_read(e, RAX, size));
	if (st)
		return st;
	advance(e, RDI, size);
	return next_iteration(e, true);
}

enum emu_status emu_op_lods(struct emu *e)
{
	unsigned int size = op_size(e);
	enum emu_status st;
	u64 val;

	if (count_is_zero(e))
		return EMU_OK;
	st = emu_mem_read(e, src_seg(e), index_reg(e, RSI), size, &val);
	if (st)
		return st;
	emu_reg_write(e, RAX, size, val);
	advance(e, RSI, size);
	return next_iteration(e, true);
}

enum emu_status emu_op_scas(struct emu *e)
{
	unsigned int size = op_size(e);
	u64 flags = e->regs.rflags;
	enum emu_status st;
	u64 val;

	if (count_is_zero(e))
		return EMU_OK;
	st = emu_mem_read(e, EMU_ES, index_reg(e, RDI), size, &val);
	if (st)
		return st;
	emu_alu(ALU_CMP, emu_reg_read(e, RAX, size), val, size, &flags);
	advance(e, RDI, size);
	return next_compare(e, flags);
}

/*
 * A port is read only when the memory is known to take the value: what a device gave cannot be
 * put back.
 */
enum emu_status emu_op_ins(struct emu *e)
{
	u16 port = (u16)e->regs.gpr[RDX];
	unsigned int size = emu_port_size(e);
	enum emu_status st;
	u32 val;

	st = emu_io_allowed(e, port, size);
	if (st || count_is_zero(e))
		return st;
	st = emu_mem_probe(e, EMU_ES, index_reg(e, RDI), size);
	if (st)
		return st;
	st = e->ops->in(e, port, size, &val);
	if (st)
		return st;
	st = emu_mem_write(e, EMU_ES, index_reg(e, RDI), size, val);
	if (st)
		return st;
	advance(e, RDI, size);
	return next_iteration(e, true);
}

enum emu_status emu_op_outs(struct emu *e)
{
	u16 port = (u16)e->regs.gpr[RDX];
	unsigned int size = emu_port_size(e);
	enum emu_status st;
	u64 val;

	st = emu_io_allowed(e, port, size);
	if (st || count_is_zero(e))
		return st;
	st = emu_mem_read(e, src_seg(e), index_reg(e, RSI), size, &val);
	if (st)
		return st;
	st = e->ops->out(e, port, size, (u32)val);
	if (st)
		return st;
	advance(e, RSI, size);
	return next_iteration(e, true);
}
