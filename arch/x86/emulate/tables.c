// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions on the descriptor-table registers and on descriptors: SGDT to LIDT, SLDT to LTR,
 * VERR, VERW, LAR, LSL, ARPL.
 */
#include "exec.h"

/* A vector that emu_desc_read() raises when these instructions only want to know */
#define VEC_NOT_THERE	0xff

/* Pseudo-descriptors hold 8 bytes of base in 64-bit mode, else 4. */
static unsigned int pseudo_len(const struct emu *e)
{
	return e->mode == EMU_MODE_64 ? 10 : 6;
}

static enum emu_status store_table(struct emu *e, const struct emu_table *table)
{
	unsigned int len = pseudo_len(e);
	enum emu_status st;
	u64 linear;
	u8 buf[10];

	if ((e->regs.cr4 & CR4_UMIP) && e->cpl)
		return emu_gp(e, 0);
	st = emu_linear(e, e->ea_seg, e->ea, len, true, &linear);
	if (st)
		return st;
	st = emu_check_align(e, linear, 4);
	if (st)
		return st;
	memcpy(buf, &table->limit, 2);
	memcpy(buf + 2, &table->base, 8);
	return emu_linear_write(e, linear, buf, len, 0);
}

static enum emu_status load_table(struct emu *e, struct emu_table *table)
{
	unsigned int len = pseudo_len(e);
	enum emu_status st;
	u64 base = 0;
	u8 buf[10];
	u64 linear;

	if (e->cpl)
		return emu_gp(e, 0);
	st = emu_linear(e, e->ea_seg, e->ea, len, false, &linear);
	if (st)
		return st;
	st = emu_linear_read(e, linear, buf, len, 0);
	if (st)
		return st;
	memcpy(&base, buf + 2, len - 2);
	if (e->mode != EMU_MODE_64 && e->insn.osize == 2)
		base &= 0xffffff;
	if (e->mode == EMU_MODE_64 && !emu_canonical(e, base))
		return emu_gp(e, 0);
	table->base = base;
	memcpy(&table->limit, buf, 2);
	return EMU_OK;
}

/* 0F 01 /0 to /3 with memory: SGDT SIDT LGDT LIDT */
enum emu_status emu_table_op(struct emu *e, unsigned int op)
{
	struct emu_table *table = op & 1 ? &e->regs.idtr : &e->regs.gdtr;

	return op < 2 ? store_table(e, table) : load_table(e, table);
}

/* SLDT and STR: a register takes the operand size, memory 16 bits */
static enum emu_status store_selector(struct emu *e, unsigned int nr)
{
	if ((e->regs.cr4 & CR4_UMIP) && e->cpl)
		return emu_gp(e, 0);
	return emu_rm_write(e, mod_is_reg(e) ? e->insn.osize : 2, e->regs.seg[nr].selector);
}

static enum emu_status lldt(struct emu *e)
{
	struct emu_seg seg;
	enum emu_status st;
	u64 sel;

	if (e->cpl)
		return emu_gp(e, 0);
	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	st = emu_ldt_check(e, (u16)sel, VEC_GP, &seg);
	if (!st)
		e->regs.seg[EMU_LDTR] = seg;
	return st;
}

/* The descriptor must be of an available TSS, and becomes busy. */
static enum emu_status ltr(struct emu *e)
{
	enum emu_status st;
	struct emu_seg seg;
	struct desc d;
	u64 sel;

	if (e->cpl)
		return emu_gp(e, 0);
	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	if (sel_null((u16)sel) || (sel & SEL_TI))
		return emu_sel_fault(e, VEC_GP, (u16)sel);
	st = emu_desc_read(e, (u16)sel, VEC_GP, &d);
	if (st)
		return st;
	if ((d.hi & DESC_HI_S) ||
	    (desc_type(&d) != DESC_TSS32 && (in_long_mode(e) || desc_type(&d) != DESC_TSS16)))
		return emu_sel_fault(e, VEC_GP, (u16)sel);
	if (!(d.hi & DESC_HI_P))
		return emu_sel_fault(e, VEC_NP, (u16)sel);
	st = emu_desc_read_high(e, VEC_GP, &d);
	if (st)
		return st;
	emu_desc_decode(&d, &seg);
	seg.type |= DESC_BUSY;
	st = emu_desc_replace(e, &d, d.hi | DESC_HI_BUSY);
	if (!st)
		e->regs.seg[EMU_TR] = seg;
	return st;
}

/* Read the descriptor of a selector if it exists and may be seen from here; else @found is false */
static enum emu_status look_up(struct emu *e, u16 sel, struct desc *d, bool *found)
{
	enum emu_status st;
	bool conforming;

	*found = false;
	if (sel_null(sel))
		return EMU_OK;
	st = emu_desc_read(e, sel, VEC_NOT_THERE, d);
	if (st == EMU_FAULT && e->exc.vector == VEC_NOT_THERE)
		return EMU_OK;
	if (st)
		return st;
	conforming = (d->hi & DESC_HI_S) && (desc_type(d) & 0xc) == 0xc;
	*found = conforming || (desc_dpl(d) >= e->cpl && desc_dpl(d) >= (sel & SEL_RPL));
	return EMU_OK;
}

static void set_zf(struct emu *e, bool on)
{
	e->regs.rflags = (e->regs.rflags & ~(u64)FL_ZF) | (on ? FL_ZF : 0);
}

static enum emu_status verify(struct emu *e, bool write)
{
	enum emu_status st;
	struct desc d;
	bool ok;
	u64 sel;

	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	st = look_up(e, (u16)sel, &d, &ok);
	if (st)
		return st;
	if (ok && !(d.hi & DESC_HI_S))
		ok = false;
	if (ok)
		ok = write ? (desc_type(&d) & 0xa) == 0x2 : (desc_type(&d) & 0xa) != 0x8;
	set_zf(e, ok);
	return EMU_OK;
}

/* 0F 00: not recognised in real and virtual-8086 mode */
enum emu_status emu_op_grp6(struct emu *e)
{
	unsigned int op = modrm_ext(e);

	if (!in_protected(e))
		return emu_ud(e);
	switch (op) {
	case 0:
		return store_selector(e, EMU_LDTR);
	case 1:
		return store_selector(e, EMU_TR);
	case 2:
		return lldt(e);
	case 3:
		return ltr(e);
	default:
		return verify(e, op == 5);
	}
}

/* System descriptor types that LAR and LSL know; one bit per type */
static bool type_valid(const struct emu *e, unsigned int type, bool lsl)
{
	u16 types = in_long_mode(e) ? 1 << 2 | 1 << 9 | 1 << 11 :
				      1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;

	if (!lsl)
		types |= in_long_mode(e) ? 1 << 12 : 1 << 4 | 1 << 5 | 1 << 12;
	return types >> type & 1;
}

/* 0F 02, 0F 03 */
enum emu_status emu_op_lar_lsl(struct emu *e)
{
	bool lsl = e->insn.opcode & 1;
	enum emu_status st;
	struct emu_seg seg;
	struct desc d;
	bool ok;
	u64 sel;

	if (!in_protected(e))
		return emu_ud(e);
	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	st = look_up(e, (u16)sel, &d, &ok);
	if (st)
		return st;
	if (ok && !(d.hi & DESC_HI_S))
		ok = type_valid(e, desc_type(&d), lsl);
	set_zf(e, ok);
	if (!ok)
		return EMU_OK;
	emu_desc_decode(&d, &seg);
	emu_reg_write(e, modrm_reg(e), e->insn.osize, lsl ? seg.limit : d.hi & 0x00ffff00);
	return EMU_OK;
}

/*
 * 63 outside 64-bit mode; in it the opcode is MOVSXD. A selector that need not change is not
 * written, nor checked for it.
 */
enum emu_status emu_op_arpl(struct emu *e)
{
	u16 rpl = emu_reg_read(e, modrm_reg(e), 2) & SEL_RPL;
	enum emu_status st;
	u64 sel;
	bool raise;

	if (e->mode == EMU_MODE_64)
		return emu_op_movsxd(e);
	if (!in_protected(e))
		return emu_ud(e);
	st = emu_rm_read(e, 2, &sel);
	if (st)
		return st;
	raise = (sel & SEL_RPL) < rpl;
	if (raise) {
		st = emu_rm_write(e, 2, (sel & ~(u64)SEL_RPL) | rpl);
		if (st)
			return st;
	}
	set_zf(e, raise);
	return EMU_OK;
}
