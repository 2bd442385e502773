// SPDX-License-Identifier: GPL-2.0
/*
 * Far control transfers: JMP, CALL, RET and IRET between segments and privilege levels.
 *
 * Call gates are left to the caller as EMU_UNHANDLEABLE; TSS descriptors and task gates go to
 * task.c.
 */
#include "exec.h"

/* A target whose checks have passed */
struct target {
	struct desc desc;
	struct emu_seg cs;
	u64 rip;
};

static enum emu_mode mode_of(const struct emu *e, const struct emu_seg *cs)
{
	if (in_long_mode(e) && cs->l)
		return EMU_MODE_64;
	return cs->db ? EMU_MODE_32 : EMU_MODE_16;
}

/* Is the offset good in the segment that execution is about to enter? */
static enum emu_status check_target(struct emu *e, struct target *t)
{
	bool ok;

	if (mode_of(e, &t->cs) == EMU_MODE_64) {
		ok = emu_canonical(e, t->rip);
	} else {
		/* Intel CPUs cut a 64-bit offset for other code */
		if (!e->amd)
			t->rip = (u32)t->rip;
		ok = t->rip <= t->cs.limit;
	}
	return ok ? EMU_OK : emu_gp(e, 0);
}

/* Take over CS and everything that hangs on it */
static void enter_target(struct emu *e, const struct target *t)
{
	e->regs.seg[EMU_CS] = t->cs;
	e->next_rip = t->rip;
	if (in_protected(e))
		e->cpl = t->cs.selector & SEL_RPL;
}

static enum emu_status push_return(struct emu *e, u64 *rsp)
{
	enum emu_status st;

	st = emu_push_at(e, rsp, e->insn.osize, e->regs.seg[EMU_CS].selector);
	if (st)
		return st;
	return emu_push_at(e, rsp, e->insn.osize, e->next_rip);
}

/*
 * A far CALL between 64-bit and other code: AMD documents that the old mode pushes, Intel CPUs
 * are seen to push in the new mode.  With a flat stack below 4 GB it is the same.
 */
static bool push_is_clear(const struct emu *e, const struct target *t)
{
	const struct emu_seg *ss = &e->regs.seg[EMU_SS];

	if ((e->mode == EMU_MODE_64) == (mode_of(e, &t->cs) == EMU_MODE_64))
		return true;
	return !ss->unusable && !ss->base && ss->db && ss->limit == 0xffffffff &&
	       e->regs.gpr[RSP] <= 0xffffffff;
}

static enum emu_status finish_far(struct emu *e, struct target *t, bool is_call)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;

	/* CPUs look at the stack before they look at the target */
	if (is_call) {
		if (!push_is_clear(e, t))
			return EMU_UNHANDLEABLE;
		st = push_return(e, &rsp);
		if (st)
			return st;
	}
	st = check_target(e, t);
	if (st)
		return st;
	if (in_protected(e)) {
		st = emu_desc_accessed(e, &t->desc, &t->cs);
		if (st)
			return st;
	}
	if (is_call)
		emu_set_rsp(e, rsp);
	enter_target(e, t);
	return EMU_OK;
}

static enum emu_status far_system(struct emu *e, const struct desc *d, bool is_call)
{
	unsigned int type = desc_type(d);

	switch (type) {
	case DESC_CALL16:
	case DESC_CALL32:
		return in_long_mode(e) && type == DESC_CALL16 ? emu_sel_fault(e, VEC_GP, d->sel) :
								EMU_UNHANDLEABLE;
	case DESC_TASK_GATE:
	case DESC_TSS16:
	case DESC_TSS32:
		if (!in_long_mode(e))
			return emu_task_far(e, d, is_call ? EMU_TASK_CALL : EMU_TASK_JMP);
		break;
	default:
		break;
	}
	return emu_sel_fault(e, VEC_GP, d->sel);
}

static enum emu_status far_to(struct emu *e, u16 sel, u64 off, bool is_call)
{
	struct target t = { .rip = off };
	enum emu_status st;

	if (e->regs.cr4 & CR4_CET)
		return EMU_UNHANDLEABLE;
	if (!in_protected(e)) {
		emu_seg_real(e, EMU_CS, sel, &t.cs);
		return finish_far(e, &t, is_call);
	}
	if (sel_null(sel))
		return emu_gp(e, 0);
	st = emu_desc_read(e, sel, VEC_GP, &t.desc);
	if (st)
		return st;
	if (!(t.desc.hi & DESC_HI_S))
		return far_system(e, &t.desc, is_call);
	st = emu_cs_check(e, CS_JUMP, &t.desc, &t.cs);
	if (st)
		return st;
	return finish_far(e, &t, is_call);
}

/*
 * 9A, EA: pointer in the instruction; FF /3 and /5: in memory, where AMD CPUs know no 64-bit
 * offset (what a CALL pushes is of operand size all the same)
 */
static enum emu_status far_branch(struct emu *e, bool is_call)
{
	unsigned int size = e->insn.osize;
	enum emu_status st;
	u64 off, sel;

	if (e->insn.opcode != 0xff)
		return far_to(e, e->insn.imm2, (u64)e->insn.imm & size_mask(e->insn.osize),
			      is_call);
	if (size == 8 && e->amd)
		size = 4;
	st = emu_mem_read(e, e->ea_seg, e->ea, size, &off);
	if (st)
		return st;
	st = emu_mem_read(e, e->ea_seg, (e->ea + size) & emu_addr_mask(e), 2, &sel);
	if (st)
		return st;
	return far_to(e, (u16)sel, off, is_call);
}

enum emu_status emu_op_jmp_far(struct emu *e)
{
	return far_branch(e, false);
}

enum emu_status emu_op_call_far(struct emu *e)
{
	return far_branch(e, true);
}

/* What RET and IRET to an outer level take from the stack beside CS:RIP */
struct outer {
	struct emu_seg ss;
	u64 rsp;
};

/* A null SS is good only for 64-bit code outside level 3. */
static enum emu_status check_outer_ss(struct emu *e, u16 sel, const struct target *t,
				      struct outer *o)
{
	unsigned int cpl = t->cs.selector & SEL_RPL;

	if (sel_null(sel)) {
		if (mode_of(e, &t->cs) != EMU_MODE_64 || cpl == 3 || sel != cpl)
			return emu_gp(e, 0);
		emu_seg_null(e, EMU_SS, sel, &o->ss);
		return EMU_OK;
	}
	return emu_seg_check(e, EMU_SS, sel, cpl, VEC_GP, &o->ss);
}

/* Data segments that the outer level may not have become null. */
static void drop_inner_segments(struct emu *e)
{
	static const u8 data[] = { EMU_ES, EMU_DS, EMU_FS, EMU_GS };
	struct emu_seg *seg;
	unsigned int i;

	for (i = 0; i < sizeof(data); i++) {
		seg = &e->regs.seg[data[i]];
		if (!seg->unusable && seg->dpl < e->cpl && (seg->type & 0xc) != 0xc)
			emu_seg_null(e, data[i], 0, seg);
	}
}

/*
 * Load the outer stack; the new SS decides how much of RSP there is. @release: bytes of
 * parameters
 */
static void enter_outer(struct emu *e, const struct outer *o, unsigned int release,
			unsigned int size)
{
	enum emu_mode mode = mode_of(e, &e->regs.seg[EMU_CS]);

	e->regs.seg[EMU_SS] = o->ss;
	if (mode == EMU_MODE_64 || size == 8)
		e->regs.gpr[RSP] = o->rsp + release;
	else
		emu_gpr_merge(e, RSP, o->ss.db ? 4 : 2, o->rsp + release);
	drop_inner_segments(e);
}

/* The code segment to return to */
static enum emu_status check_return_cs(struct emu *e, u16 sel, struct target *t)
{
	enum emu_status st;

	if (sel_null(sel))
		return emu_gp(e, 0);
	st = emu_desc_read(e, sel, VEC_GP, &t->desc);
	if (st)
		return st;
	if ((sel & SEL_RPL) < e->cpl)
		return emu_sel_fault(e, VEC_GP, sel);
	return emu_cs_check(e, CS_RETURN, &t->desc, &t->cs);
}

static enum emu_status pop_outer(struct emu *e, u64 *rsp, struct outer *o, u16 *ss)
{
	enum emu_status st;
	u64 val;

	st = emu_pop_at(e, rsp, e->insn.osize, &o->rsp);
	if (!st)
		st = emu_pop_at(e, rsp, e->insn.osize, &val);
	if (!st)
		*ss = (u16)val;
	return st;
}

/*
 * Everything that a return checks, with SS:RSP popped if @outer.  AMD CPUs pop all before they
 * look at any of it, also on the way to an inner level, and check RIP before SS.
 */
static enum emu_status check_return(struct emu *e, u16 sel, bool outer, u64 *rsp, struct target *t,
				    struct outer *o)
{
	enum emu_status st = EMU_OK;
	u16 ss = 0;

	if (e->amd && (outer || (sel & SEL_RPL) != e->cpl))
		st = pop_outer(e, rsp, o, &ss);
	if (!st)
		st = check_return_cs(e, sel, t);
	if (!st && e->amd)
		st = check_target(e, t);
	if (!st && outer && !e->amd)
		st = pop_outer(e, rsp, o, &ss);
	if (!st && outer)
		st = check_outer_ss(e, ss, t, o);
	if (!st && !e->amd)
		st = check_target(e, t);
	if (!st)
		st = emu_desc_accessed(e, &t->desc, &t->cs);
	return st;
}

/* RETF in protected mode, the pointer popped: to the same or an outer level */
static enum emu_status ret_far_protected(struct emu *e, u16 sel, u64 rip, u64 rsp)
{
	bool outer = (sel & SEL_RPL) > e->cpl;
	unsigned int release = (u16)e->insn.imm;
	struct target t = { .rip = rip };
	struct outer o = { .rsp = 0 };
	enum emu_status st;

	rsp += release;
	st = check_return(e, sel, outer, &rsp, &t, &o);
	if (st)
		return st;
	if (!outer)
		emu_set_rsp(e, rsp);
	enter_target(e, &t);
	if (outer)
		enter_outer(e, &o, release, e->insn.osize);
	return EMU_OK;
}

/* CA, CB */
enum emu_status emu_op_ret_far(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	struct target t = { .rip = 0 };
	enum emu_status st;
	u64 sel;

	if (e->regs.cr4 & CR4_CET)
		return EMU_UNHANDLEABLE;
	st = emu_pop_at(e, &rsp, e->insn.osize, &t.rip);
	if (st)
		return st;
	st = emu_pop_at(e, &rsp, e->insn.osize, &sel);
	if (st)
		return st;
	if (in_protected(e))
		return ret_far_protected(e, (u16)sel, t.rip, rsp);
	emu_seg_real(e, EMU_CS, (u16)sel, &t.cs);
	st = check_target(e, &t);
	if (st)
		return st;
	emu_set_rsp(e, rsp + (u16)e->insn.imm);
	enter_target(e, &t);
	return EMU_OK;
}

/* Flags that IRET may change */
static u64 iret_mask(const struct emu *e)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID;

	if (!in_protected(e)) {
		/* Real mode, or virtual-8086 mode with IOPL 3 */
		mask |= FL_IF | (in_v86(e) ? 0 : FL_IOPL);
	} else {
		if (e->cpl <= iopl(e))
			mask |= FL_IF;
		if (e->cpl == 0)
			mask |= FL_IOPL | FL_VIF | FL_VIP;
	}
	return e->insn.osize == 2 ? mask & 0xffff : mask;
}

static void iret_done(struct emu *e, u64 flags, u64 mask)
{
	e->regs.rflags = emu_flags_merge(e->regs.rflags, flags, mask);
	e->unmask_nmi = true;
}

/* From level 0 to virtual-8086 mode: six more words, no descriptors */
static enum emu_status iret_to_v86(struct emu *e, u16 cs, u64 rip, u64 flags, u64 rsp)
{
	static const u8 order[] = { EMU_SS, EMU_ES, EMU_DS, EMU_FS, EMU_GS };
	enum emu_status st;
	unsigned int i;
	u64 val[6];

	for (i = 0; i < 6; i++) {
		st = emu_pop_at(e, &rsp, 4, &val[i]);
		if (st)
			return st;
	}
	if (rip > 0xffff)
		return emu_gp(e, 0);
	e->regs.rflags = emu_flags_merge(e->regs.rflags, flags, iret_mask(e) | FL_VM);
	emu_seg_real(e, EMU_CS, cs, &e->regs.seg[EMU_CS]);
	for (i = 0; i < sizeof(order); i++)
		emu_seg_real(e, order[i], (u16)val[i + 1], &e->regs.seg[order[i]]);
	e->regs.gpr[RSP] = (u32)val[0];
	e->next_rip = rip;
	e->cpl = 3;
	e->unmask_nmi = true;
	return EMU_OK;
}

static enum emu_status iret_protected(struct emu *e, u16 sel, u64 rip, u64 flags, u64 rsp)
{
	unsigned int size = e->insn.osize;
	struct target t = { .rip = rip };
	struct outer o = { .rsp = 0 };
	u64 mask = iret_mask(e);
	enum emu_status st;
	bool outer;

	if (!in_long_mode(e) && size == 4 && (flags & FL_VM) && e->cpl == 0)
		return iret_to_v86(e, sel, rip, flags, rsp);
	/* 64-bit mode pops SS:RSP whatever the level */
	outer = (sel & SEL_RPL) > e->cpl || e->mode == EMU_MODE_64;
	st = check_return(e, sel, outer, &rsp, &t, &o);
	if (st)
		return st;
	if (!outer)
		emu_set_rsp(e, rsp);
	enter_target(e, &t);
	if (outer)
		enter_outer(e, &o, 0, size);
	iret_done(e, flags, mask);
	return EMU_OK;
}

static enum emu_status iret_real(struct emu *e, u16 sel, u64 rip, u64 flags, u64 rsp)
{
	struct target t = { .rip = rip };
	enum emu_status st;

	emu_seg_real(e, EMU_CS, sel, &t.cs);
	st = check_target(e, &t);
	if (st)
		return st;
	emu_set_rsp(e, rsp);
	enter_target(e, &t);
	iret_done(e, flags, iret_mask(e));
	return EMU_OK;
}

/*
 * CF. In virtual-8086 mode below IOPL 3: #GP; with VME its 16-bit form would work on VIF, which
 * is not done here.
 */
enum emu_status emu_op_iret(struct emu *e)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;
	u64 val[3];
	unsigned int i;

	if (e->regs.cr4 & CR4_CET)
		return EMU_UNHANDLEABLE;
	if (in_v86(e) && iopl(e) < 3)
		return (e->regs.cr4 & CR4_VME) && e->insn.osize == 2 ? EMU_UNHANDLEABLE :
								       emu_gp(e, 0);
	if (in_protected(e) && (e->regs.rflags & FL_NT))
		return in_long_mode(e) ? emu_gp(e, 0) : emu_task_return(e);
	for (i = 0; i < 3; i++) {
		st = emu_pop_at(e, &rsp, e->insn.osize, &val[i]);
		if (st)
			return st;
	}
	if (in_protected(e))
		return iret_protected(e, (u16)val[1], val[0], val[2], rsp);
	return iret_real(e, (u16)val[1], val[0], val[2], rsp);
}
