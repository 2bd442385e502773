// SPDX-License-Identifier: GPL-2.0
/*
 * Near control transfers, and the software interrupts.
 *
 * Shadow stacks are not kept: with CR4.CET the instructions that would
 * use them are EMU_UNHANDLEABLE.
 */
#include "exec.h"

/* Bits of @val where @mask has them, else of @old */
u64 emu_flags_merge(u64 old, u64 val, u64 mask)
{
	return (old & ~mask) | (val & mask);
}

/* Where to go on in the present code segment */
enum emu_status emu_set_next(struct emu *e, u64 rip)
{
	if (e->mode == EMU_MODE_64 ? !emu_canonical(e, rip) : rip > e->regs.seg[EMU_CS].limit)
		return emu_gp(e, 0);
	e->next_rip = rip;
	return EMU_OK;
}

static enum emu_status jump(struct emu *e, u64 rip)
{
	return emu_set_next(e, rip & size_mask(e->insn.osize));
}

static enum emu_status jump_rel(struct emu *e)
{
	return jump(e, e->next_rip + (u64)e->insn.imm);
}

enum emu_status emu_op_jcc(struct emu *e)
{
	return emu_cond(e->insn.opcode, e->regs.rflags) ? jump_rel(e) : EMU_OK;
}

enum emu_status emu_op_jmp_rel(struct emu *e)
{
	return jump_rel(e);
}

/*
 * CPUs look at the stack before they look at the target: Intel's have written the return address
 * by then, AMD's have not.
 */
static enum emu_status call(struct emu *e, u64 target)
{
	u64 rsp = e->regs.gpr[RSP], ret = e->next_rip;
	unsigned int size = e->insn.osize;
	enum emu_status st;

	if (e->regs.cr4 & CR4_CET)
		return EMU_UNHANDLEABLE;
	if (e->amd) {
		st = emu_mem_probe(e, EMU_SS, (rsp - size) & emu_stack_mask(e), size);
		if (!st)
			st = jump(e, target);
		if (st)
			return st;
	}
	st = emu_push_at(e, &rsp, size, ret);
	if (st)
		return st;
	st = e->amd ? EMU_OK : jump(e, target);
	if (!st)
		emu_set_rsp(e, rsp);
	return st;
}

enum emu_status emu_op_call_rel(struct emu *e)
{
	return call(e, e->next_rip + (u64)e->insn.imm);
}

/* C2, C3 */
enum emu_status emu_op_ret(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 rip;

	if (e->regs.cr4 & CR4_CET)
		return EMU_UNHANDLEABLE;
	st = emu_pop_at(e, &rsp, e->insn.osize, &rip);
	if (st)
		return st;
	st = jump(e, rip);
	if (!st)
		emu_set_rsp(e, rsp + (u16)e->insn.imm);
	return st;
}

/*
 * LOOPNE LOOPE LOOP JrCXZ: the count is of address size; it changes only if the jump is possible.
 */
enum emu_status emu_op_loop(struct emu *e)
{
	u64 count = e->regs.gpr[RCX] & emu_addr_mask(e);
	bool zf = e->regs.rflags & FL_ZF;
	enum emu_status st;
	bool taken;

	if (e->insn.opcode == 0xe3)
		return count ? EMU_OK : jump_rel(e);
	count = (count - 1) & emu_addr_mask(e);
	taken = count && (e->insn.opcode == 0xe2 || zf == (e->insn.opcode == 0xe1));
	if (taken) {
		st = jump_rel(e);
		if (st)
			return st;
	}
	emu_gpr_merge(e, RCX, e->insn.asize, count);
	return EMU_OK;
}

/* FF */
enum emu_status emu_op_grp5(struct emu *e)
{
	unsigned int op = modrm_ext(e);
	unsigned int size = e->insn.osize;
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 val;

	if (op < 2)
		return emu_op_grp4(e);
	if (op == 3)
		return emu_op_call_far(e);
	if (op == 5)
		return emu_op_jmp_far(e);
	/* Near branches and PUSH default to 64 bits */
	if (e->mode == EMU_MODE_64 && (size == 4 || (size == 2 && op != 6 && !e->amd)))
		size = 8;
	e->insn.osize = (u8)size;
	st = emu_rm_read(e, size, &val);
	if (st)
		return st;
	if (op == 2)
		return call(e, val);
	if (op == 4)
		return e->regs.cr4 & CR4_CET ? EMU_UNHANDLEABLE : jump(e, val);
	st = emu_push_at(e, &rsp, size, val);
	if (!st)
		emu_set_rsp(e, rsp);
	return st;
}

/* Through the interrupt vector table of real mode */
static enum emu_status real_int(struct emu *e, u8 vector)
{
	u64 rsp = e->regs.gpr[RSP];
	struct emu_seg cs;
	enum emu_status st;
	u16 entry[2];

	if (vector * 4u + 3 > e->regs.idtr.limit)
		return emu_gp(e, (u16)(vector * 8 + 2));
	st = emu_linear_read(e, (u32)(e->regs.idtr.base + vector * 4u), entry, sizeof(entry),
			     EMU_ACC_SYSTEM);
	if (st)
		return st;
	st = emu_push_at(e, &rsp, 2, e->regs.rflags);
	if (st)
		return st;
	st = emu_push_at(e, &rsp, 2, e->regs.seg[EMU_CS].selector);
	if (st)
		return st;
	st = emu_push_at(e, &rsp, 2, e->next_rip);
	if (st)
		return st;
	emu_seg_real(e, EMU_CS, entry[1], &cs);
	if (entry[0] > cs.limit)
		return emu_gp(e, 0);
	e->regs.seg[EMU_CS] = cs;
	e->regs.rflags &= ~(u64)(FL_IF | FL_TF | FL_AC | FL_RF);
	emu_set_rsp(e, rsp);
	e->next_rip = entry[0];
	return EMU_OK;
}

/* In protected mode the event is the caller's to deliver, with the instruction's length. */
static enum emu_status soft_event(struct emu *e, enum emu_event_kind kind, u8 vector)
{
	if (!(e->regs.cr0 & CR0_PE))
		return real_int(e, vector);
	e->exc = (struct emu_exception){
		.kind = (u8)kind,
		.vector = vector,
		.len = e->insn.len,
	};
	return EMU_FAULT;
}

/* With VME the TSS's redirection map decides in virtual-8086 mode: not done here. */
enum emu_status emu_op_int(struct emu *e)
{
	if (in_v86(e) && (e->regs.cr4 & CR4_VME))
		return EMU_UNHANDLEABLE;
	if (in_v86(e) && iopl(e) < 3)
		return emu_gp(e, 0);
	return soft_event(e, EMU_EVENT_SOFT_INT, (u8)e->insn.imm);
}

enum emu_status emu_op_int3(struct emu *e)
{
	return soft_event(e, EMU_EVENT_SOFT_EXC, VEC_BP);
}

enum emu_status emu_op_into(struct emu *e)
{
	if (!(e->regs.rflags & FL_OF))
		return EMU_OK;
	return soft_event(e, EMU_EVENT_SOFT_EXC, VEC_OF);
}

enum emu_status emu_op_icebp(struct emu *e)
{
	return soft_event(e, EMU_EVENT_PRIV_EXC, VEC_DB);
}

/* 62: a pair of signed bounds; Intel CPUs read the second only if the first holds */
enum emu_status emu_op_bound(struct emu *e)
{
	unsigned int size = e->insn.osize;
	s64 index = sign_extend(emu_reg_read(e, modrm_reg(e), size), size);
	enum emu_status st;
	u64 low, high;
	bool below;

	st = emu_mem_read(e, e->ea_seg, e->ea, size, &low);
	if (st)
		return st;
	below = index < sign_extend(low, size);
	if (below && !e->amd)
		return emu_raise(e, VEC_BR, false, 0);
	st = emu_mem_read(e, e->ea_seg, (e->ea + size) & emu_addr_mask(e), size, &high);
	if (st)
		return st;
	if (below || index > sign_extend(high, size))
		return emu_raise(e, VEC_BR, false, 0);
	return EMU_OK;
}
