// SPDX-License-Identifier: GPL-2.0
/*
 * Segment descriptors: reading them, and the checks before one may enter a segment register.
 *
 * The checks return the hidden part to load and change no register.  The accessed bit is set in
 * memory last, when nothing else of the descriptor can fail.
 */
#include "exec.h"

/* An exception whose error code is a selector */
enum emu_status emu_sel_fault(struct emu *e, u8 vector, u16 sel)
{
	return emu_raise(e, vector, true, sel & ~SEL_RPL);
}

/**
 * emu_desc_read - read the descriptor that a selector names
 * @e: the emulation
 * @sel: not null
 * @vector: raised with the selector when it is beyond its table
 * @d: filled in
 */
enum emu_status emu_desc_read(struct emu *e, u16 sel, u8 vector, struct desc *d)
{
	const struct emu_seg *ldt = &e->regs.seg[EMU_LDTR];
	u64 base = e->regs.gdtr.base;
	u32 limit = e->regs.gdtr.limit;
	u32 raw[2];
	enum emu_status st;

	if (sel & SEL_TI) {
		if (ldt->unusable)
			return emu_sel_fault(e, vector, sel);
		base = ldt->base;
		limit = ldt->limit;
	}
	if ((sel | 7u) > limit)
		return emu_sel_fault(e, vector, sel);
	d->linear = base + (sel & ~7u);
	if (!in_long_mode(e))
		d->linear = (u32)d->linear;
	else if (!emu_canonical(e, d->linear) || !emu_canonical(e, d->linear + 7))
		return emu_gp(e, 0);
	st = emu_linear_read(e, d->linear, raw, sizeof(raw), EMU_ACC_SYSTEM);
	if (st)
		return st;
	d->lo = raw[0];
	d->hi = raw[1];
	d->base_hi = 0;
	d->sel = sel;
	return EMU_OK;
}

/* The upper half of a long-mode system descriptor, which must be in the GDT */
enum emu_status emu_desc_read_high(struct emu *e, u8 vector, struct desc *d)
{
	enum emu_status st;
	u32 raw[2];

	if (!in_long_mode(e))
		return EMU_OK;
	if ((d->sel & ~7u) + 15 > e->regs.gdtr.limit)
		return emu_sel_fault(e, vector, d->sel);
	st = emu_linear_read(e, d->linear + 8, raw, sizeof(raw), EMU_ACC_SYSTEM);
	if (st)
		return st;
	if (raw[1] & 0x1f00)
		return emu_sel_fault(e, vector, d->sel);
	d->base_hi = raw[0];
	if (!emu_canonical(e, (u64)d->base_hi << 32 | (d->hi & 0xff000000)))
		return emu_sel_fault(e, vector, d->sel);
	return EMU_OK;
}

/* Replace the high word of a descriptor in memory, atomically */
enum emu_status emu_desc_replace(struct emu *e, const struct desc *d, u32 new_hi)
{
	u64 linear = d->linear + 4;

	if (!in_long_mode(e))
		linear = (u32)linear;
	return e->ops->cmpxchg(e, linear, &d->hi, &new_hi, 4, EMU_ACC_SYSTEM);
}

/* Set the accessed bit of a code or data descriptor in memory and in @seg */
enum emu_status emu_desc_accessed(struct emu *e, const struct desc *d, struct emu_seg *seg)
{
	seg->type |= 1;
	if (d->hi & DESC_HI_ACCESSED)
		return EMU_OK;
	return emu_desc_replace(e, d, d->hi | DESC_HI_ACCESSED);
}

/* Spread a descriptor into a segment register */
void emu_desc_decode(const struct desc *d, struct emu_seg *seg)
{
	u32 hi = d->hi;

	*seg = (struct emu_seg){
		.selector = d->sel,
		.base = (u64)d->base_hi << 32 | (hi & 0xff000000) | (hi & 0xff) << 16 | d->lo >> 16,
		.limit = (hi & 0xf0000) | (d->lo & 0xffff),
		.type = hi >> 8 & 0xf,
		.s = hi >> 12 & 1,
		.dpl = hi >> 13 & 3,
		.p = hi >> 15 & 1,
		.avl = hi >> 20 & 1,
		.l = hi >> 21 & 1,
		.db = hi >> 22 & 1,
		.g = hi >> 23 & 1,
	};
	if (seg->g)
		seg->limit = seg->limit << 12 | 0xfff;
}

/* A load in real mode keeps limit and attributes; in virtual-8086 mode these are fixed. */
void emu_seg_real(const struct emu *e, unsigned int nr, u16 sel, struct emu_seg *seg)
{
	*seg = e->regs.seg[nr];
	if (in_v86(e)) {
		*seg = (struct emu_seg){
			.limit = 0xffff, .type = 3, .s = 1, .dpl = 3, .p = 1,
		};
	}
	seg->selector = sel;
	seg->base = (u64)sel << 4;
	seg->unusable = 0;
}

/* A null selector; AMD CPUs keep the base behind it. SS tells CPL by its DPL. */
void emu_seg_null(const struct emu *e, unsigned int nr, u16 sel, struct emu_seg *seg)
{
	*seg = (struct emu_seg){
		.selector	= sel,
		.base		= e->amd ? e->regs.seg[nr].base : 0,
		.type		= 1,
		.s		= 1,
		.dpl		= nr == EMU_SS ? sel & SEL_RPL : 0,
		.unusable	= 1,
	};
}

static enum emu_status check_ss(struct emu *e, const struct desc *d, unsigned int cpl, u8 vector)
{
	bool writable_data = (d->hi & DESC_HI_S) && (desc_type(d) & 0xa) == 0x2;

	if ((d->sel & SEL_RPL) != cpl || !writable_data || desc_dpl(d) != cpl)
		return emu_sel_fault(e, vector, d->sel);
	if (!(d->hi & DESC_HI_P))
		return emu_sel_fault(e, VEC_SS, d->sel);
	return EMU_OK;
}

static enum emu_status check_data(struct emu *e, const struct desc *d, unsigned int cpl, u8 vector)
{
	unsigned int type = desc_type(d);
	bool code = type & 8;

	if (!(d->hi & DESC_HI_S) || (code && !(type & 2)))
		return emu_sel_fault(e, vector, d->sel);
	/* Conforming code may be read from any level */
	if ((type & 0xc) != 0xc && ((d->sel & SEL_RPL) > desc_dpl(d) || cpl > desc_dpl(d)))
		return emu_sel_fault(e, vector, d->sel);
	if (!(d->hi & DESC_HI_P))
		return emu_sel_fault(e, VEC_NP, d->sel);
	return EMU_OK;
}

/**
 * emu_seg_check - may a selector enter ES, SS, DS, FS or GS?
 * @e: the emulation
 * @nr: which
 * @sel: selector
 * @cpl: privilege level that will hold then
 * @vector: VEC_GP, or VEC_TS in a task switch
 * @seg: filled in: what to load
 *
 * See the SDM's MOV, "Loading of segment registers", and the APM, "Segment Loads".
 */
enum emu_status emu_seg_check(struct emu *e, unsigned int nr, u16 sel, unsigned int cpl, u8 vector,
			      struct emu_seg *seg)
{
	enum emu_status st;
	struct desc d;

	if (!in_protected(e)) {
		emu_seg_real(e, nr, sel, seg);
		return EMU_OK;
	}
	if (sel_null(sel)) {
		if (nr == EMU_SS && (e->mode != EMU_MODE_64 || cpl == 3 || sel != cpl))
			return emu_raise(e, vector, true, 0);
		emu_seg_null(e, nr, sel, seg);
		return EMU_OK;
	}
	st = emu_desc_read(e, sel, vector, &d);
	if (st)
		return st;
	st = nr == EMU_SS ? check_ss(e, &d, cpl, vector) : check_data(e, &d, cpl, vector);
	if (st)
		return st;
	emu_desc_decode(&d, seg);
	return emu_desc_accessed(e, &d, seg);
}

/* Are the privilege levels right for loading CS in this way? */
static bool cs_privilege_ok(const struct emu *e, enum cs_load how, const struct desc *d)
{
	bool conforming = desc_type(d) & 4;
	unsigned int dpl = desc_dpl(d);
	unsigned int rpl = d->sel & SEL_RPL;

	if (how == CS_JUMP)
		return conforming ? dpl <= e->cpl : dpl == e->cpl && rpl <= e->cpl;
	return conforming ? dpl <= rpl : dpl == rpl;
}

/**
 * emu_cs_check - may a descriptor enter CS?
 * @e: the emulation
 * @how: jump or call (keeps CPL), return (CPL becomes the selector's RPL), task switch
 *	(likewise, with #TS)
 * @d: what emu_desc_read() gave
 * @seg: filled in; its selector's RPL is the privilege level to go on with.  The caller sets
 *	the accessed bit.
 */
enum emu_status emu_cs_check(struct emu *e, enum cs_load how, const struct desc *d,
			     struct emu_seg *seg)
{
	u8 vector = how == CS_TASK ? VEC_TS : VEC_GP;

	if (!(d->hi & DESC_HI_S) || !(desc_type(d) & 8) || !cs_privilege_ok(e, how, d))
		return emu_sel_fault(e, vector, d->sel);
	emu_desc_decode(d, seg);
	if (in_long_mode(e) && seg->l && seg->db)
		return emu_sel_fault(e, vector, d->sel);
	if (!seg->p)
		return emu_sel_fault(e, VEC_NP, d->sel);
	if (how == CS_JUMP)
		seg->selector = (u16)((d->sel & ~SEL_RPL) | e->cpl);
	return EMU_OK;
}

/**
 * emu_ldt_check - may a selector enter LDTR?
 * @e: the emulation
 * @sel: selector, null permitted
 * @vector: VEC_GP, or VEC_TS in a task switch, which also takes the place of #NP
 * @seg: filled in: what to load
 */
enum emu_status emu_ldt_check(struct emu *e, u16 sel, u8 vector, struct emu_seg *seg)
{
	enum emu_status st;
	struct desc d;

	if (sel_null(sel)) {
		emu_seg_null(e, EMU_LDTR, sel, seg);
		seg->base = 0;
		seg->s = 0;
		seg->type = DESC_LDT;
		return EMU_OK;
	}
	if (sel & SEL_TI)
		return emu_sel_fault(e, vector, sel);
	st = emu_desc_read(e, sel, vector, &d);
	if (st)
		return st;
	if ((d.hi & DESC_HI_S) || desc_type(&d) != DESC_LDT)
		return emu_sel_fault(e, vector, sel);
	if (!(d.hi & DESC_HI_P))
		return emu_sel_fault(e, vector == VEC_TS ? VEC_TS : VEC_NP, sel);
	st = emu_desc_read_high(e, vector, &d);
	if (st)
		return st;
	emu_desc_decode(&d, seg);
	return EMU_OK;
}
