// SPDX-License-Identifier: GPL-2.0
/*
 * Task switches, with 16-bit and 32-bit task state segments.
 *
 * Until commit() everything that can fail does so in the old task, and only memory of the old
 * TSS, the back link and busy bits have been written (writing them again is harmless).  From
 * commit() on, a fault belongs to the new task.
 */
#include "exec.h"

#define TSS32_LEN	104
#define TSS32_STATE	32	/* first field that a switch saves: EIP */
#define TSS16_LEN	44
#define TSS16_STATE	14
#define TSS_LINK	0
#define DR6_BT		0x8000u
#define DR7_LOCAL	0x155u	/* L0..L3, LE */

/* A task state segment as it is saved and loaded, of either size */
struct task {
	u32 cr3;
	u32 eip;
	u32 eflags;
	u32 gpr[8];
	u16 seg[6];
	u16 ldt;
	bool trap;
	bool is32;
};

static u32 get(const u8 *p, unsigned int size)
{
	return size == 4 ? p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24 :
			   p[0] | (u32)p[1] << 8;
}

static void put(u8 *p, unsigned int size, u32 val)
{
	for (; size--; val >>= 8)
		*p++ = (u8)val;
}

/* EIP, EFLAGS, registers and selectors follow each other in both formats. */
static void parse_tss(const u8 *raw, bool is32, struct task *t)
{
	unsigned int size = is32 ? 4 : 2;
	const u8 *p = raw + (is32 ? TSS32_STATE : TSS16_STATE);
	unsigned int i;

	*t = (struct task){ .is32 = is32 };
	t->eip = get(p, size);
	t->eflags = get(p + size, size);
	p += 2 * size;
	for (i = 0; i < 8; i++, p += size)
		t->gpr[i] = get(p, size);
	for (i = 0; i < (is32 ? 6u : 4u); i++, p += size)
		t->seg[i] = (u16)get(p, 2);
	t->ldt = (u16)get(p, 2);
	if (is32) {
		t->cr3 = get(raw + 28, 4);
		t->trap = raw[100] & 1;
	}
}

static bool tss_is32(const struct emu_seg *tr)
{
	return tr->type & 8;
}

static enum emu_status read_tss(struct emu *e, const struct emu_seg *tr, struct task *t)
{
	bool is32 = tss_is32(tr);
	enum emu_status st;
	u8 raw[TSS32_LEN];

	st = emu_linear_read(e, tr->base, raw, is32 ? TSS32_LEN : TSS16_LEN, EMU_ACC_SYSTEM);
	if (!st)
		parse_tss(raw, is32, t);
	return st;
}

/* Save the old task. @eflags: as they are to be saved */
static enum emu_status save_tss(struct emu *e, const struct emu_seg *tr, u32 eflags)
{
	bool is32 = tss_is32(tr);
	unsigned int size = is32 ? 4 : 2;
	unsigned int i;
	u8 raw[16 * 4];
	u8 *p = raw;

	put(p, size, (u32)e->regs.rip);
	put(p + size, size, eflags);
	p += 2 * size;
	for (i = 0; i < 8; i++, p += size)
		put(p, size, (u32)e->regs.gpr[i]);
	for (i = 0; i < (is32 ? 6u : 4u); i++, p += size)
		put(p, size, e->regs.seg[i].selector);
	return emu_linear_write(e, tr->base + (is32 ? TSS32_STATE : TSS16_STATE), raw,
				(unsigned int)(p - raw), EMU_ACC_SYSTEM);
}

/* The new task's TSS descriptor: right type, present, long enough */
static enum emu_status check_new_tss(struct emu *e, u16 sel, enum emu_task_reason reason,
				     struct desc *d)
{
	u8 vector = reason == EMU_TASK_IRET ? VEC_TS : VEC_GP;
	u8 busy = reason == EMU_TASK_IRET ? DESC_BUSY : 0;
	enum emu_status st;
	struct emu_seg tr;

	if (sel_null(sel) || (sel & SEL_TI))
		return emu_sel_fault(e, vector, sel);
	st = emu_desc_read(e, sel, vector, d);
	if (st)
		return st;
	if ((d->hi & DESC_HI_S) || (desc_type(d) & 7) != (DESC_TSS16 | busy))
		return emu_sel_fault(e, vector, sel);
	emu_desc_decode(d, &tr);
	if (!tr.p)
		return emu_sel_fault(e, VEC_NP, sel);
	if (tr.limit < (tss_is32(&tr) ? TSS32_LEN : TSS16_LEN) - 1u)
		return emu_sel_fault(e, VEC_TS, sel);
	return EMU_OK;
}

/* JMP and IRET leave the old task for good: it is busy no more */
static enum emu_status clear_old_busy(struct emu *e)
{
	enum emu_status st;
	struct desc d;

	st = emu_desc_read(e, e->regs.seg[EMU_TR].selector, VEC_TS, &d);
	if (st || !(d.hi & DESC_HI_BUSY))
		return st;
	return emu_desc_replace(e, &d, d.hi & ~DESC_HI_BUSY);
}

/* All memory writes of the switch, in the old task's address space */
static enum emu_status leave_old(struct emu *e, enum emu_task_reason reason, const struct desc *d,
				 const struct emu_seg *tr)
{
	const struct emu_seg *old = &e->regs.seg[EMU_TR];
	bool nested = reason == EMU_TASK_CALL || reason == EMU_TASK_GATE;
	u32 eflags = (u32)e->regs.rflags;
	enum emu_status st;

	if (reason == EMU_TASK_IRET)
		eflags &= ~FL_NT;
	st = save_tss(e, old, eflags);
	if (st)
		return st;
	if (nested) {
		st = emu_linear_write(e, tr->base + TSS_LINK, &old->selector, 2, EMU_ACC_SYSTEM);
	} else {
		st = clear_old_busy(e);
	}
	if (st || reason == EMU_TASK_IRET)
		return st;
	return emu_desc_replace(e, d, d->hi | DESC_HI_BUSY);
}

/* Debug registers forget the old task's local breakpoints. */
static enum emu_status clear_local_breakpoints(struct emu *e)
{
	enum emu_status st;
	u64 dr7;

	st = e->ops->get_dr(e, 7, &dr7);
	if (st || !(dr7 & DR7_LOCAL))
		return st;
	return e->ops->set_dr(e, 7, dr7 & ~(u64)DR7_LOCAL);
}

/* Registers of the new task; the segments have only their selectors yet. */
static enum emu_status commit(struct emu *e, const struct task *t, const struct emu_seg *tr,
			      bool nested)
{
	enum emu_status st;
	unsigned int i;

	st = e->ops->set_cr(e, 0, e->regs.cr0 | CR0_TS);
	if (st)
		return st;
	e->committed = true;
	for (i = 0; i < 8; i++)
		e->regs.gpr[i] = t->gpr[i];
	e->regs.rip = t->eip;
	e->regs.rflags = (t->eflags & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF |
				       FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)) |
			 FL_ONE | (nested ? FL_NT : 0);
	e->regs.seg[EMU_TR] = *tr;
	for (i = 0; i < 6; i++)
		emu_seg_null(e, i, t->seg[i], &e->regs.seg[i]);
	e->regs.seg[EMU_LDTR] =
		(struct emu_seg){ .selector = t->ldt, .type = DESC_LDT, .unusable = 1 };
	e->cpl = t->eflags & FL_VM ? 3 : t->seg[EMU_CS] & SEL_RPL;
	st = clear_local_breakpoints(e);
	if (st || !t->is32 || !(e->regs.cr0 & CR0_PG))
		return st;
	return e->ops->set_cr(e, 3, t->cr3);
}

static enum emu_status load_cs(struct emu *e, u16 sel)
{
	struct emu_seg seg;
	enum emu_status st;
	struct desc d;

	if (in_v86(e)) {
		emu_seg_real(e, EMU_CS, sel, &e->regs.seg[EMU_CS]);
		return EMU_OK;
	}
	if (sel_null(sel))
		return emu_sel_fault(e, VEC_TS, sel);
	st = emu_desc_read(e, sel, VEC_TS, &d);
	if (st)
		return st;
	st = emu_cs_check(e, CS_TASK, &d, &seg);
	if (st)
		return st;
	st = emu_desc_accessed(e, &d, &seg);
	if (!st)
		e->regs.seg[EMU_CS] = seg;
	return st;
}

/* LDTR first, as other selectors may point into it; then CS, SS and the rest */
static enum emu_status load_segments(struct emu *e, const struct task *t)
{
	static const u8 order[] = { EMU_SS, EMU_ES, EMU_DS, EMU_FS, EMU_GS };
	struct emu_seg seg;
	enum emu_status st;
	unsigned int i;

	st = emu_ldt_check(e, t->ldt, VEC_TS, &seg);
	if (st)
		return st;
	e->regs.seg[EMU_LDTR] = seg;
	st = load_cs(e, t->seg[EMU_CS]);
	if (st)
		return st;
	e->mode = (u8)emu_mode(&e->regs);
	for (i = 0; i < sizeof(order); i++) {
		st = emu_seg_check(e, order[i], t->seg[order[i]], e->cpl, VEC_TS, &seg);
		if (st)
			return st;
		e->regs.seg[order[i]] = seg;
	}
	return EMU_OK;
}

static enum emu_status push_error(struct emu *e, bool is32, u32 error)
{
	u64 rsp = e->regs.gpr[RSP];
	enum emu_status st;

	st = emu_push_at(e, &rsp, is32 ? 4 : 2, error);
	if (!st)
		emu_set_rsp(e, rsp);
	return st;
}

/* What happens in the new task: segments, error code, limit of EIP, debug trap */
static enum emu_status enter_new(struct emu *e, const struct task *t, bool has_error, u32 error)
{
	enum emu_status st;

	st = load_segments(e, t);
	if (st)
		return st;
	if (has_error) {
		st = push_error(e, t->is32, error);
		if (st)
			return st;
	}
	if (e->regs.rip > e->regs.seg[EMU_CS].limit)
		return emu_gp(e, 0);
	if (!t->trap)
		return EMU_OK;
	emu_raise(e, VEC_DB, false, 0);
	e->exc.has_payload = true;
	e->exc.payload = DR6_BT;
	return EMU_FAULT;
}

static enum emu_status task_switch(struct emu *e, u16 sel, enum emu_task_reason reason,
				   bool has_error, u32 error)
{
	const struct emu_seg *old = &e->regs.seg[EMU_TR];
	bool nested = reason == EMU_TASK_CALL || reason == EMU_TASK_GATE;
	enum emu_status st;
	struct emu_seg tr;
	struct desc d;
	struct task t;

	if (in_long_mode(e) || !(e->regs.cr0 & CR0_PE))
		return EMU_UNHANDLEABLE;
	st = check_new_tss(e, sel, reason, &d);
	if (st)
		return st;
	if (old->unusable || old->limit < (tss_is32(old) ? TSS32_LEN : TSS16_LEN) - 1u)
		return emu_sel_fault(e, VEC_TS, old->selector);
	emu_desc_decode(&d, &tr);
	tr.type |= DESC_BUSY;
	st = read_tss(e, &tr, &t);
	if (st)
		return st;
	st = leave_old(e, reason, &d, &tr);
	if (st)
		return st;
	st = commit(e, &t, &tr, nested);
	if (!st)
		st = enter_new(e, &t, has_error, error);
	e->next_rip = e->regs.rip;
	return e->committed && (st == EMU_IO || st == EMU_RETRY) ? EMU_UNHANDLEABLE : st;
}

enum emu_status emulate_task_switch(struct emu *e, u16 selector, enum emu_task_reason reason,
				    bool has_error, u32 error)
{
	e->shadow = EMU_SHADOW_NONE;
	e->repeat = false;
	e->unmask_nmi = reason == EMU_TASK_IRET;
	e->resumed = false;
	e->halt = false;
	e->committed = false;
	e->mode = (u8)emu_mode(&e->regs);
	return task_switch(e, selector, reason, has_error, error);
}

/* From inside an instruction: the old task resumes after it. */
static enum emu_status switch_from_insn(struct emu *e, u16 sel, enum emu_task_reason reason)
{
	u64 rip = e->regs.rip;
	enum emu_status st;

	st = e->ops->task(e, reason);
	if (st)
		return st;
	e->regs.rip = e->next_rip;
	st = task_switch(e, sel, reason, false, 0);
	if (st && !e->committed)
		e->regs.rip = rip;
	return st;
}

/* JMP or CALL to a TSS descriptor or a task gate */
enum emu_status emu_task_far(struct emu *e, const struct desc *d, enum emu_task_reason reason)
{
	u16 sel = d->sel;

	if (desc_dpl(d) < e->cpl || desc_dpl(d) < (d->sel & SEL_RPL))
		return emu_sel_fault(e, VEC_GP, d->sel);
	if (desc_type(d) == DESC_TASK_GATE) {
		if (!(d->hi & DESC_HI_P))
			return emu_sel_fault(e, VEC_NP, d->sel);
		sel = (u16)(d->lo >> 16);
	}
	return switch_from_insn(e, sel, reason);
}

/* IRET with NT: to the task that the back link names */
enum emu_status emu_task_return(struct emu *e)
{
	enum emu_status st;
	u16 link;

	st = emu_linear_read(e, e->regs.seg[EMU_TR].base + TSS_LINK, &link, 2, EMU_ACC_SYSTEM);
	if (st)
		return st;
	e->unmask_nmi = true;
	return switch_from_insn(e, link, EMU_TASK_IRET);
}
